"""With `--demo`, no command line reads or changes the machine that it runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bai_wizard.cli import COMMANDS, NOT_SIMULATED
from bai_wizard.exit_codes import ExitCode
from tests.tui.terminal import Terminal

SEALED = Path(__file__).parent.parent / "tools" / "sealed.py"
ANSWERS = """version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
sudo = "no"
[docker]
[tuning]
[python]
[aliases]
hosts = [{ ip = "10.20.30.10", names = ["bai-m1"] }]
[storage]
volumes = [{ name = "local", type = "local" }]
[accelerators]
[images]
"""
BUNDLE = "[sources]\nbundle = '/no/such/bundle'\n"


@dataclass(frozen=True)
class Sealed:
    """A directory with the files that command lines name, and the record of what they should not have accessed."""

    directory: Path

    def argv(self, *words: str) -> list[str]:
        named = [str(self.directory / name) for name in ("answers.toml", "bundle.toml", "out", "tmp", "report.json")]
        return [sys.executable, "-I", str(SEALED), str(self.directory / "record"), ":".join(named), *words]

    @property
    def environment(self) -> dict[str, str]:
        state = {"XDG_STATE_HOME": str(self.directory / "tmp" / "state"), "HOME": str(self.directory / "tmp")}
        return {**os.environ, "TMPDIR": str(self.directory / "tmp"), **state}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def assert_untouched(self) -> None:
        assert (self.directory / "record").read_text() == ""
        assert not list((self.directory / "tmp").glob("bai-wizard*")), "a demo leaves nothing behind"


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    (tmp_path / "answers.toml").write_text(ANSWERS)
    (tmp_path / "bundle.toml").write_text(ANSWERS + BUNDLE)
    (tmp_path / "tmp").mkdir()
    return Sealed(tmp_path)


# Command lines by the exit code with which they end on the simulated node.
LINES = {
    "check answers.toml --demo": 0,
    "--demo=half check answers.toml": 0,
    "schema --demo": 0,
    "answers --demo": 0,
    "--demo answers --from-node": 0,
    "--demo detect": 0,
    "detect --json --demo broken": 0,
    "--demo finished doctor": 0,
    "--demo broken doctor --json": 4,
    "doctor --demo broken --report out/report.html": 4,
    "--demo broken doctor --fix tuning.sysctl-quoted-value --yes": 0,
    "--demo doctor --error denied": 0,
    "--demo doctor --bundle out/bundle.tar.gz --yes": 2,
    "--demo runs": 2,
    "--demo attach": 2,
    "--demo resume": 2,
    "--demo undo": 2,
    "undo --plan --demo": 2,
    "--demo bundle answers.toml -o out": 2,
    "--demo _execute 20261128T000000Z-abcdef --digest 0": 2,
    "--demo drift": 2,
    "--demo drift --answers answers.toml": 7,
    "drift --demo finished --answers answers.toml --json --metrics out/drift.prom": 7,
    "compare report.json --demo": 0,
    "fleet report report.json --demo": 0,
    "--demo --headless answers.toml --plan": 0,
    "--headless answers.toml --plan --detailed-exitcode --demo": 7,
    "--demo --headless answers.toml --plan -o out/plan.json": 0,
    "apply out/plan.json --demo": 0,
    "--demo --headless answers.toml --json --report out/run.json": 0,
    "--headless answers.toml --demo half": 3,
    "--headless bundle.toml --demo": 3,
    "--headless answers.toml --bundle out --demo": 2,
    "--demo --root out --headless answers.toml": 2,
    "--demo none detect": 2,
}


def test_every_command_is_tried_with_demo() -> None:
    tried = {word for line in LINES for word in line.split()}
    assert {*COMMANDS, *NOT_SIMULATED, "--headless"} <= tried


def test_no_demo_command_touches_the_real_node(sealed: Sealed) -> None:
    """In one process: starting one for each line would take most of the time."""
    (sealed.directory / "out").mkdir()
    report = ["--demo", "finished", "--headless", "answers.toml", "--only", "aliases", "--report", "report.json"]
    done = sealed.run("--each", json.dumps([report, *(line.split() for line in LINES)]))
    codes = dict(zip(LINES, json.loads(done.stdout.splitlines()[-1])[1:], strict=True))
    assert codes == LINES, done.stderr
    sealed.assert_untouched()


@pytest.mark.parametrize("node", ["bare", "broken"])
def test_the_screens_of_a_demo_touch_no_real_node(sealed: Sealed, node: str) -> None:
    terminal = Terminal(sealed.argv("--demo", node), environment=sealed.environment, directory=str(sealed.directory))
    try:
        terminal.until("Review and apply")
        for _ in range(9):
            terminal.step("down")
        terminal.press("enter")
        terminal.until("steps · ")
        terminal.end(15)
    finally:
        terminal.kill()
    sealed.assert_untouched()


def test_the_line_prompts_of_a_demo_touch_no_real_node(sealed: Sealed) -> None:
    terminal = Terminal(
        sealed.argv("--demo", "--plain"), environment=sealed.environment, directory=str(sealed.directory)
    )
    try:
        terminal.until("Choose a page")
        terminal.press("q", "enter")
        assert terminal.end() == ExitCode.OK
    finally:
        terminal.kill()
    sealed.assert_untouched()


def test_a_process_outside_the_seal_is_caught(sealed: Sealed) -> None:
    done = sealed.run("detect")
    assert done.returncode != 0 or (sealed.directory / "record").read_text()
    assert (sealed.directory / "record").read_text() != ""
