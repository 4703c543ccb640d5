"""Read-only commands neither create nor change the state directories, whatever their state."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.cli import COMMANDS, main
from bai_wizard.core.errors import LockHeld
from bai_wizard.engine import lock
from bai_wizard.engine.lock import StatePaths, current, hold_lock, is_held
from bai_wizard.exit_codes import ExitCode
from tests.unit.test_released_fixtures import on_a_node
from tests.waiting import ends

pytestmark = pytest.mark.needs_root

ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "group": "root:x:0:\n",
    "hostname": "gpu01\n",
    "os-release": 'ID=debian\nVERSION_ID="13"\n',
}
REPORT = '{"version": 1, "host": "gpu01"}\n'
# Every command line that is said to change nothing. RUN: the newest run; ANSWERS, REPORT: files.
READING = [
    "--version",
    "--help",
    "--headless ANSWERS --plan",
    "--headless ANSWERS --plan --json",
    "--headless ANSWERS --plan --detailed-exitcode",
    "--headless ANSWERS --plan --yes-interrupt=umount",
    "--headless ANSWERS --yes-interrupt=everything",
    "check ANSWERS",
    "check ANSWERS --host other",
    "schema",
    "answers",
    "answers --from-node",
    "detect",
    "detect --json",
    "doctor --only resolver",
    "doctor --only resolver --json",
    "doctor --error disk-full",
    "doctor --fix no-such-check --yes",
    "runs",
    "runs --json",
    "attach RUN",
    "attach",
    "undo --plan",
    "undo --plan --force",
    "undo --plan --json",
    "undo RUN --plan",
    "undo no-such-run",
    "undo no-such-run --plan",
    "undo --yes-interrupt=everything",
    "undo --plan --yes-interrupt=everything",
    "resume --plan",
    "resume --plan --json",
    "resume RUN --plan",
    "resume no-such-run",
    "resume no-such-run --plan",
    "resume --yes-interrupt=umount,everything",
    "drift",
    "drift --json --answers ANSWERS",
    "drift --run RUN",
    "drift --run no-such-run",
    "compare REPORT REPORT",
    "fleet report REPORT REPORT",
    "fleet plan REPORT --json",
]


def cleared(paths: StatePaths) -> None:
    shutil.rmtree(paths.volatile)


def damaged(paths: StatePaths) -> None:
    for path in paths.runs.glob("*/journal.jsonl"):
        path.write_bytes(path.read_bytes()[:-40] + b"\0\n")


def stale(paths: StatePaths) -> None:
    """As an executor leaves it that was killed."""
    with hold_lock(paths, next(paths.runs.iterdir()).name):
        notice = paths.current.read_bytes()
    paths.current.write_bytes(notice.replace(str(os.getpid()).encode(), b"4194303"))


def prepared(paths: StatePaths) -> None:
    """A front end was killed between the making of a run's directory and the start of its executor."""
    (paths.runs / "20261128T000000Z-abcd").mkdir(0o700)


# The states of the directories: which runs of a released version there are, and what else is changed.
STATES: dict[str, tuple[tuple[str, ...], Callable[[StatePaths], None]]] = {
    "no directory": ((), lambda paths: shutil.rmtree(paths.root)),
    "no run": ((), lambda paths: None),
    "finished": (("applied",), lambda paths: None),
    "interrupted": (("killed",), stale),
    "interrupted before a reboot": (("killed",), cleared),
    "several, damaged": (("applied", "killed", "undone"), damaged),
    "a start that was killed": (("applied",), prepared),
}


def marks(top: Path) -> dict[str, tuple[object, ...]]:
    """Every path: inode, mode, owner, size, both times of change, and content."""
    result: dict[str, tuple[object, ...]] = {}
    for path in [top, *sorted(top.rglob("*"))] if top.exists() else []:
        each = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        result[str(path)] = (
            each.st_ino,
            each.st_mode,
            each.st_uid,
            each.st_size,
            each.st_mtime_ns,
            each.st_ctime_ns,
            content,
        )
    return result


@pytest.mark.parametrize("state", STATES)
def test_state_directories_keep_their_content_and_times(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "node"
    names, change = STATES[state]
    paths, runs = on_a_node(root, "0.1.0", *names)
    change(paths)
    (root / "etc").mkdir(parents=True)
    for name, text in ETC.items():
        (root / "etc" / name).write_text(text)
    words = {"ANSWERS": tmp_path / "answers.toml", "REPORT": tmp_path / "report.json"}
    words["ANSWERS"].write_text("version = 1\n[tuning]\n")
    words["REPORT"].write_text(REPORT)
    given = {name: str(path) for name, path in words.items()} | {"RUN": runs[-1].id if runs else "x"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = marks(root)
    for line in READING:
        argv = [given.get(word, word) for word in line.split()]
        if line not in ("--version", "--help"):
            argv += ["--root", str(root)]
        try:
            code = main(argv)
        except SystemExit as error:
            code = error.code  # type: ignore[assignment]
        message = "".join(capsys.readouterr())
        assert code != ExitCode.BUG, (line, message)
        assert "Traceback" not in message, (line, message)
        if "everything" in line or "no-such-check" in line:
            assert code == ExitCode.ANSWERS, (line, message)
        assert marks(root) == before, line


def test_the_table_has_every_command_that_reads() -> None:
    """`bundle` writes what it is told to, outside of the state directories; `apply` changes the node."""
    reading = set(COMMANDS) - {"bundle", "apply"}
    assert {line.split()[0] for line in READING} - {"--version", "--help", "--headless"} == reading


@pytest.mark.parametrize("notice", ["none", "stale"])
def test_asking_for_a_running_job_does_not_block_a_starting_one(tmp_path: Path, notice: str) -> None:
    """`is_held` has the lock, shared, for a moment: the executor waits for it, as no living run holds the lock."""
    paths = StatePaths(tmp_path)
    paths.make()
    paths.lock.touch(0o600)
    if notice == "stale":
        paths.current.write_text('{"run": "x", "pid": 4194303}')
    reader = os.open(paths.lock, os.O_RDWR)
    fcntl.flock(reader, fcntl.LOCK_SH)
    assert not is_held(paths)
    timer = threading.Timer(0.1, os.close, (reader,))
    timer.start()
    with hold_lock(paths, "run-1"):
        assert (current(paths) or {})["run"] == "run-1"
    timer.join()


def test_a_living_run_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "READERS", 3600.0)
    paths = StatePaths(tmp_path)
    with (
        ends("the second run"),
        hold_lock(paths, "run-1"),
        pytest.raises(LockHeld, match="run-1"),
        hold_lock(paths, "2"),
    ):
        raise AssertionError


def test_a_lock_without_a_notice_is_refused_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "READERS", 0.05)
    paths = StatePaths(tmp_path)
    paths.make()
    paths.lock.touch(0o600)
    with open(paths.lock, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockHeld), hold_lock(paths, "run-1"):
            raise AssertionError
