"""Any state of the lock and the wizard's directories: a documented exit code and one sentence."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bai_wizard import compose
from bai_wizard.core.step import Plan
from bai_wizard.engine import executor, lock
from bai_wizard.engine.directory import RunDirectory, all_runs
from bai_wizard.engine.executor import Executor
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from tests.sampling import sampled
from tests.unit.engine.test_run_selection import FIRST, SECOND, Seat, seat

__all__ = ["seat"]
pytestmark = pytest.mark.needs_root


def replaced(name: str, by: Callable[[Path], object]) -> Callable[[StatePaths], None]:
    """A file of the volatile directory, or the directory itself for an empty name."""

    def damage(paths: StatePaths) -> None:
        path = paths.volatile / name if name else paths.volatile
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        by(path)

    return damage


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "inner").write_text("x")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # its name is too long otherwise
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def of_another_user(path: Path) -> None:
    path.touch()
    os.chown(path, 1, 1)


KINDS: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/full"),
    "a directory": Path.mkdir,
    "a directory with a file": full_directory,
    "a FIFO": os.mkfifo,
    "a socket": listening,
    "of another user": of_another_user,
    "garbage": lambda path: path.write_bytes(b"\xff\x00" * 4096),
}


def owner(path: str) -> Callable[[StatePaths], None]:
    return lambda paths: os.chown(paths.root / path, 65534, 65534)


def mode(path: str, mode: int) -> Callable[[StatePaths], None]:
    return lambda paths: (paths.root / path).chmod(mode)


STATE, RUNS, RUN = "var/lib/bai-wizard", "var/lib/bai-wizard/runs", "run/bai-wizard"
# What does not keep anyone from working.
HARMLESS: dict[str, Callable[[StatePaths], None]] = {
    **{f"current.json {kind}": replaced("current.json", by) for kind, by in KINDS.items() if "directory" not in kind},
    "lock garbage": replaced("lock", KINDS["garbage"]),
    "no lock": replaced("lock", lambda _path: None),
    "no volatile directory": replaced("", lambda _path: None),
    "state directory 0755": mode(STATE, 0o755),
    "runs 0755": mode(RUNS, 0o755),
    "volatile directory 0700": mode(RUN, 0o700),
    "lent.json a link": replaced("lent.json", KINDS["a link"]),
    "lent.json a FIFO": replaced("lent.json", KINDS["a FIFO"]),
}
REFUSED: dict[str, Callable[[StatePaths], None]] = {
    **{f"lock {kind}": replaced("lock", by) for kind, by in KINDS.items() if kind != "garbage"},
    **{f"current.json {kind}": replaced("current.json", by) for kind, by in KINDS.items() if "directory" in kind},
    **{f"new current.json {kind}": replaced(".current.json.new", KINDS[kind])
       for kind in ("a link", "a link to nothing", "a directory", "a FIFO", "a socket")},
    **{f"volatile directory {kind}": replaced("", KINDS[kind])
       for kind in ("a link", "a link to nothing", "a link to itself", "a FIFO", "garbage")},
    "lent.json a directory": replaced("lent.json", Path.mkdir),
    **{f"{path} of another user": owner(path) for path in (STATE, RUNS, RUN)},
    **{f"{path} {bits:04o}": mode(path, bits)
       for path in (STATE, RUNS, RUN) for bits in (0o777, 0o1777, 0o720, 0o702)},
}  # fmt: skip


@pytest.fixture
def applied(seat: Seat) -> Seat:
    seat.apply(FIRST)
    seat.wanted = (FIRST, SECOND)
    return seat


def commands(seat: Seat) -> tuple[tuple[str, ...], ...]:
    """Commands that act, then those that only look."""
    return (
        ("--headless", str(seat.answers)), ("undo",), ("resume", all_runs(seat.paths)[-1].id),
        ("undo", "--plan"), ("resume", "--plan"), ("runs",), ("runs", "--json"), ("attach",),
        ("--headless", str(seat.answers), "--plan"), ("doctor", "--only", "aliases.duplicate"),
    )  # fmt: skip


@pytest.mark.parametrize("name", sampled("refused places", list(REFUSED), 12))
def test_unusable_directories_are_refused_in_one_sentence(applied: Seat, name: str) -> None:
    before, made = applied.machine.snapshot(), sorted(applied.paths.runs.iterdir())
    REFUSED[name](applied.paths)
    for index, words in enumerate(commands(applied)):
        code = applied.main(*words)
        assert code in {*ExitCode} - {ExitCode.BUG}, applied.messages
        assert not any("Traceback" in line for line in applied.messages)
        if index < 3:
            assert code == ExitCode.PREFLIGHT, (words, applied.messages)
            assert "nothing was changed" in applied.messages[-1], (words, applied.messages)
    assert (applied.machine.snapshot(), sorted(applied.paths.runs.iterdir())) == (before, made)


@pytest.mark.parametrize("name", sampled("harmless places", list(HARMLESS), 5))
def test_harmless_conditions_do_not_block(applied: Seat, name: str) -> None:
    HARMLESS[name](applied.paths)
    for words in commands(applied)[::-1]:
        code = applied.main(*words)
        assert code in {*ExitCode} - {ExitCode.BUG, ExitCode.PREFLIGHT}, (words, applied.messages)
    assert (applied.has("first"), applied.has("second")) == ("a = 1\n", "b = 1\n")
    assert applied.paths.volatile.stat().st_mode & 0o7777 == 0o755
    assert applied.paths.runs.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("pid", [0, -1, True, "1", None, 1.0])
def test_a_notice_without_a_process_is_ignored(tmp_path: Path, pid: object) -> None:
    """Ctrl-C sends its process a signal; to -1 that would be every process of the node."""
    paths = StatePaths(tmp_path)
    paths.make()
    for named in (pid, 17):
        paths.current.write_text(json.dumps({"run": "a", "pid": named}))
        assert (lock.current(paths) is not None) == (named == 17)


@pytest.mark.parametrize("what", ["lock", "current.json"])
def test_a_full_volatile_directory(applied: Seat, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    before, made = applied.machine.snapshot(), sorted(applied.paths.runs.iterdir())

    def full(*_given: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    if what == "lock":
        applied.paths.lock.unlink()
        open_file = os.open

        def open_other(path: Any, *given: Any, **named: Any) -> int:
            if path == applied.paths.lock:
                full()
            return open_file(path, *given, **named)

        monkeypatch.setattr(os, "open", open_other)
    else:
        monkeypatch.setattr(lock, "write_json", full)
    for words in commands(applied)[:3]:
        assert applied.main(*words) == ExitCode.PREFLIGHT
        assert "no space left on device" in applied.messages[-1]
    assert (applied.machine.snapshot(), sorted(applied.paths.runs.iterdir())) == (before, made)


def test_secrets_that_find_no_room_refuse_the_start(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bai_wizard.node.passwords.publish", full)
    monkeypatch.setattr("bai_wizard.compose.load", lambda _page: Lender())
    monkeypatch.setattr(compose, "resolve", lambda *_given: None)
    seat.wanted = (FIRST,)
    assert seat.main("--headless", str(seat.answers)) == ExitCode.PREFLIGHT
    seat.says("lent.json: no space left on device: nothing was changed")
    assert list(seat.paths.runs.iterdir()) == []


class Lender:
    def runtime_secrets(self, _settings: object) -> dict[str, object]:
        return {"a": None}


def test_an_unremovable_notice_does_not_fail_a_finished_run(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = seat.start

    def start(run: RunDirectory, digest: str, paths: StatePaths) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(executor, "Executor", replacing(paths))
            begin(run, digest, paths)

    monkeypatch.setattr("bai_wizard.engine.launch.start_executor", start)
    seat.apply(FIRST)
    assert seat.paths.current.is_dir()


def replacing(paths: StatePaths) -> type[Executor]:
    class Replacing(Executor, frozen=True):
        def run(self, plan: Plan) -> Result:
            paths.current.unlink()
            paths.current.mkdir()
            return super().run(plan)

    return Replacing
