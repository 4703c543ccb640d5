"""Two starts at once, with clocks set back and forth: always the right run, and no traces of the other."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

from bai_wizard.exit_codes import ExitCode
from tests.cache import CHECKOUT
from tests.sampling import is_soak, seed

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed"),
]
# Days that the clock of one command is off.
CLOCKS = (-20_000, -4000, -366, -1, 0, 1, 366, 4000, 30_000)
HOSTS = "127.0.0.1 localhost\n"


@pytest.fixture
def root() -> Iterator[Path]:
    """A node's tree in memory: on a busy disk each run takes seconds to write."""
    memory = Path("/dev/shm")
    path = Path(mkdtemp(prefix="bai-wizard-starters-", dir=memory if memory.is_dir() else None))
    (path / "etc").mkdir()
    (path / "etc/hosts").write_text(HOSTS)
    yield path
    shutil.rmtree(path)


@dataclass
class Clocked:
    """Commands on the tree, each with a clock of its own."""

    root: Path
    chance: random.Random

    def start(self, *words: str) -> subprocess.Popen[str]:
        clock = ["faketime", "-f", f"{self.chance.choice(CLOCKS):+d}d"]
        command = [*clock, sys.executable, "-I", "-m", "bai_wizard", "--root", str(self.root), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def starter(self, name: str) -> subprocess.Popen[str]:
        """Starts a run that makes `name` the only alias in /etc/hosts."""
        answers = self.root / f"{name}.toml"
        hosts = f'hosts = [{{ip = "10.0.0.1", names = ["{name}"]}}]'
        answers.write_text(f'version = 1\n[aliases]\nown_name = "keep"\n{hosts}\n')
        return self.start("--headless", str(answers))

    def run(self, *words: str) -> tuple[int, str, str]:
        return ended(self.start(*words))

    def runs(self) -> dict[str, tuple[int, int]]:
        """Number and exit code of every run directory, which is read without the wizard."""
        result = {}
        for path in (self.root / "var/lib/bai-wizard/runs").iterdir():
            number = json.loads((path / "run.json").read_text())["number"]
            result[path.name] = number, json.loads((path / "result.json").read_text())["code"]
        return result

    def alias(self) -> str:
        """The alias that is in effect; empty without one. Nothing else is in the file."""
        text = (self.root / "etc/hosts").read_text()
        result = re.findall(r"^10\.0\.0\.1 (\S+)$", text, re.MULTILINE)
        assert len(result) == 1 or (not result and text == HOSTS), text
        return result[0] if result else ""


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def test_two_concurrent_starters_with_changing_clocks(root: Path) -> None:
    node = Clocked(root, random.Random(f"{seed()}:starters"))
    held: list[tuple[str, str]] = []  # alias and run of every run that still holds changes, oldest first
    made: set[str] = set()
    for number in range(50 if is_soak() else 5):
        names = [f"n{number}{character}" for character in "ab"]
        pair = [node.starter(name) for name in names]
        outcomes = {name: ended(process) for name, process in zip(names, pair, strict=True)}
        codes = sorted(code for code, _, _ in outcomes.values())
        message = f"round {number}, seed {seed()}: {outcomes}"
        # The later one may also look at the node after the earlier one has ended.
        assert codes in ([0, 3], [0, 0]), message
        for code, _, err in outcomes.values():
            assert code != 3 or "another run " in err, message
        runs = node.runs()
        new = sorted(runs.keys() - made, key=runs.__getitem__)
        assert len(new) == sum(code != 3 for code in codes), f"{message}\n{runs}"
        assert sorted(index for index, _ in runs.values()) == list(range(1, len(runs) + 1)), f"{message}\n{runs}"
        made |= runs.keys()
        assert outcomes[node.alias()][0] == ExitCode.OK, message
        order = sorted((name for name in names if outcomes[name][0] == ExitCode.OK), key=node.alias().__eq__)
        held += zip(order, [run for run in new if runs[run][1] == ExitCode.OK], strict=True)
        if node.chance.random() < 0.4:
            made.add(undo(node, held))
    code, out, _ = node.run("runs", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["run"] for row in rows if row["kind"] == "apply" and row["holds"]] == [run for _, run in held]
    while held:
        undo(node, held)
    code, _, err = node.run("undo")
    assert (code, "nothing is left to undo" in err) == (ExitCode.OK, True), err


def undo(node: Clocked, held: list[tuple[str, str]]) -> str:
    """Undo takes the newest run that holds changes, and returns the undo run."""
    before = node.runs().keys()
    alias, newest = held.pop()
    code, out, err = node.run("undo")
    assert code == ExitCode.OK, f"seed {seed()}: {out}{err}"
    assert f"selected run {newest}" in err
    assert f"-10.0.0.1 {alias}" in out
    assert node.alias() == (held[-1][0] if held else "")
    (made,) = node.runs().keys() - before
    return made
