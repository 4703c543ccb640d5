"""Whatever the files of a node contain: no command ends with a traceback or hangs, and no check crashes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bai_wizard.answers.save import from_node
from bai_wizard.cli import main
from bai_wizard.compose import local_machine
from bai_wizard.core.errors import WizardError
from bai_wizard.core.page import Context
from bai_wizard.doctor.run import known_checks
from bai_wizard.exit_codes import ExitCode
from bai_wizard.pages.aliases.steps import MARKERS
from tests.hostile_trees import DAMAGES, EVERY_PAGE, FILES, HOME, SPECIAL, damage_tree, make_tree
from tests.sampling import sampled
from tests.waiting import ends

pytestmark = pytest.mark.needs_root

ALLOWED = {*ExitCode} - {ExitCode.BUG}
TREES = range(1, 1001)
COMMANDS = (["detect"], ["answers", "--from-node"], ["--headless", "ANSWERS", "--plan"], ["doctor", "--json"])


def hosts_lines(count: int) -> str:
    """As many lines, beside our block or in it, with names of which the other place has the same."""
    return "127.0.1.1 gpu01\n" + "".join(f"10.{count % 251}.{n >> 8}.{n & 255} h{n}\n" for n in range(count))


# Each alone, file and content: all that is special to a file, and what was found by hand or by the generator.
FOUND = (
    *((file, content) for file, contents in SPECIAL.items() for content in contents),
    ("/etc/docker/daemon.json", "[" * 200_000),
    ("/etc/docker/daemon.json", '{"a":' * 900 + "1" + "}" * 900),
    ("/etc/docker/daemon.json", '{"n": ' + "9" * 5000 + "}"),
    ("/etc/docker/daemon.json", json.dumps({f"k{number}": number for number in range(60_000)})),
    ("/proc/sys/kernel/osrelease", "\ufeff6.8.0\n"),
    ("/proc/sys/fs/nr_open", "1048576 caf\u00e9\n"),
    ("/etc/cdi/nvidia.yaml", "\n" * 70_000),
    ("/etc/sudoers", "\n" * 70_000 + "x"),
    ("/proc/1/limits", "Max open files\n"),
    ("/proc/sys/kernel/osrelease", "6\n"),
    ("/proc/sys/net/ipv4/ip_local_port_range", ""),
    ("/proc/net/ipv6_route", FILES["/proc/net/ipv6_route"].replace("0", "z")),
    ("/etc/fstab", 'srv:/v /vfroot/v"1 nfs4 hard,"x 0 0\n'),
    ("/etc/sysctl.d/99-backendai.conf", "".join(f"a.b{number}=1\n" for number in range(100_000))),
    ("/etc/hosts", "# BEGIN bai-wizard\n# END bai-wizard\n" * 3000),
    ("/etc/hosts", hosts_lines(10_000) + f"{MARKERS.begin}\n{hosts_lines(1_000)}{MARKERS.end}\n{hosts_lines(9)}"),
)  # fmt: skip
KINDS = (
    "FIFO",
    "directory",
    "link to /dev/zero",
    "link to /dev/full",
    "link to itself",
    "too large",
    "one long line",
)
OPENED_BY_NAME = (
    "/etc/passwd", "/etc/group", "/etc/shadow", "/var/lib/dpkg/status", "/proc/self/mountinfo", "/proc/cpuinfo",
    "/proc/cmdline", "/proc/sys/vm/max_map_count", "/etc/docker/daemon.json", "/proc/1/limits",
)  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    make_tree(root)
    return root


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "root"
    shutil.copytree(pristine, root, symlinks=True)
    for path in (root / HOME.lstrip("/"), *(root / HOME.lstrip("/")).rglob("*")):
        os.chown(path, 1100, 1100, follow_symlinks=False)
    (tmp_path / "answers.toml").write_text(EVERY_PAGE)
    (tmp_path / "answers.toml").chmod(0o600)
    yield root
    shutil.rmtree(root)


def judge(root: Path, done: object, capfd: pytest.CaptureFixture[str]) -> None:
    """Runs every command below `root`."""
    for words in COMMANDS:
        line = [str(root.parent / "answers.toml") if word == "ANSWERS" else word for word in words]
        with ends(f"{words} on {done}"):
            code = main([*line, "--root", str(root)])
        captured = capfd.readouterr()
        assert code in ALLOWED, f"{words} on {done}: {code}\n{captured.err}"
        assert "Traceback" not in captured.err, f"{words} on {done}\n{captured.err}"
        assert '"result": "crashed"' not in captured.out, f"{words} on {done}\n{captured.out}"


def looked(root: Path) -> None:
    """Every check, in this process, so that the suite shows where one fails."""
    machine = local_machine(str(root))
    for check in known_checks():
        try:
            result = check.run(machine, Context(host=machine.host))
        except WizardError:
            continue
        for finding in result if isinstance(result, tuple) else (result,):
            json.dumps(finding.to_wire())


def test_the_undamaged_tree_is_read(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    judge(tree, "nothing", capfd)
    tables = from_node(local_machine(str(tree))).tables
    assert set(tables) == {"account", "docker", "tuning", "python", "storage"}


@pytest.mark.parametrize("number", sampled("hostile trees", TREES, 2))
def test_a_damaged_tree(tree: Path, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    judge(tree, damage_tree(tree, random.Random(f"{number}")), capfd)


@pytest.mark.parametrize("number", sampled("hostile trees, checks", range(1001, 2001), 3))
def test_the_checks_of_a_damaged_tree(tree: Path, number: int) -> None:
    done = damage_tree(tree, random.Random(f"{number}"))
    with ends(f"the checks on {done}"):
        looked(tree)


@pytest.mark.parametrize("index", sampled("found before", range(len(FOUND)), 3))
def test_regressions(tree: Path, index: int, capfd: pytest.CaptureFixture[str]) -> None:
    file, content = FOUND[index]
    (tree / file.lstrip("/")).write_bytes(content.encode(errors="surrogateescape"))
    judge(tree, f"{file}: {content[:80]!r}", capfd)


@pytest.mark.parametrize(
    ("file", "kind"), sampled("kinds", [(file, kind) for file in OPENED_BY_NAME for kind in KINDS], 2)
)
def test_no_file_in_its_place(tree: Path, file: str, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    DAMAGES[kind](tree / file.lstrip("/"), random.Random(1))
    judge(tree, f"{file}: {kind}", capfd)


def test_the_tree_has_the_files_that_are_special() -> None:
    assert set(SPECIAL) <= set(FILES)
