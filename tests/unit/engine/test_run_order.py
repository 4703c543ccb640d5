"""Order and numbers of runs; a refused start leaves no traces."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import LockHeld, PreflightError
from bai_wizard.core.step import Plan
from bai_wizard.engine import directory
from bai_wizard.engine import launch as begin
from bai_wizard.engine.directory import RunDirectory, all_runs, counter, create_run, find_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.launch import begin_run
from bai_wizard.engine.lock import StatePaths, hold_lock, hold_start
from bai_wizard.node.simulated import SimulatedMachine
from tests.unit.engine.plans import STATES, plan_of, steps
from tests.unit.test_released_fixtures import on_a_node
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about power cuts."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


def done(paths: StatePaths, name: str = "") -> RunDirectory:
    """A run that is carried out; `name` replaces the name of its directory beforehand."""
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    run = create_run(paths, plan, {})
    if name:
        run = RunDirectory(run.path.rename(paths.runs / name))
    execute(paths, run, plan.digest(), SimulatedMachine(STATES))
    return RunDirectory(run.path)


def dated(run: RunDirectory, year: str) -> None:
    """Every record of a run as the clock of another year would have written it."""
    for path in (run.journal, run.events, run.path / "run.json"):
        path.write_text(re.sub(r'": "20\d\d-', f'": "{year}-', path.read_text()))


def test_order_is_by_number_whatever_the_clock_says(paths: StatePaths) -> None:
    names = ["20300101T000000Z-0000", "19700101T000000Z-ffff", "20260101T000000Z-abcd"]
    runs = [done(paths, name) for name in names]
    for run, name in zip(runs, names, strict=True):
        dated(run, name[:4])
    assert [run.id for run in all_runs(paths)] == names
    assert [run.number for run in all_runs(paths)] == [1, 2, 3]
    assert find_run(paths).id == find_run(paths, kind="apply").id == names[-1]


def test_a_directory_name_that_is_taken_is_not_used_again(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still gives many runs one time."""
    words = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(os, "urandom", lambda _bytes: bytes.fromhex(next(words)))
    monkeypatch.setattr(directory, "datetime", Stopped)
    first, second = (create_run(paths, Plan("test"), {}) for _ in range(2))
    assert (first.id, second.id) == ("20260101T000000Z-aaaa", "20260101T000000Z-bbbb")


class Stopped(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls(2026, 1, 1, tzinfo=tz)


def test_the_number_of_a_deleted_run_is_not_used_again(paths: StatePaths) -> None:
    done(paths)
    shutil.rmtree(done(paths).path)
    assert done(paths).number == 3


@pytest.mark.parametrize(
    "content", [None, b"", b"x", b"17", b'{"number": "9"}', b'{"number": -4}', b'{"number": true}', b"[" * 100_000,
                b'{"number": ' + b"9" * 400 + b"}", b'{"number": 1e400}', "fifo", "directory", "link", b"\xff\xfe"]
)  # fmt: skip
def test_a_damaged_counter_costs_nothing(paths: StatePaths, content: bytes | str | None) -> None:
    first = done(paths)
    paths.counter.unlink()
    if isinstance(content, bytes):
        paths.counter.write_bytes(content)
    elif content == "fifo":
        os.mkfifo(paths.counter)
    elif content == "directory":
        paths.counter.mkdir()
    elif content == "link":
        paths.counter.symlink_to("/dev/zero")
    second = done(paths)
    assert (first.number, second.number) == (1, 2)
    is_reported = "last-run.json cannot be written" in second.events.read_text()
    assert is_reported == (content == "directory")
    assert done(paths).number == 3


def test_a_lower_counter_is_not_believed(paths: StatePaths) -> None:
    done(paths)
    done(paths)
    paths.counter.write_text('{"number": 1}')
    assert done(paths).number == 3


def emptied(run: RunDirectory) -> RunDirectory:
    run.journal.unlink()
    run.events.unlink()
    return run


RECORDS: dict[str, Callable[[RunDirectory], object]] = {
    "nothing damaged": lambda run: None,
    "no journal": lambda run: run.journal.unlink(),
    "no events": lambda run: run.events.unlink(),
    "run.json only": lambda run: (run.path / "run.json").rename(emptied(run).path / "run.json"),
    "torn journal": lambda run: run.journal.write_bytes(b'{"t": "20'),
    "no run.json": lambda run: (run.path / "run.json").unlink(),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_runs_of_0_1_0_come_first_in_the_order_of_their_records(tmp_path: Path, damage: str) -> None:
    """Their names say the opposite here, as after a clock that was set back."""
    paths, runs = on_a_node(tmp_path, "0.1.0", "applied", "failed", "docker-applied")
    named = sorted(runs, key=lambda run: run.metadata["created"])
    renamed = [run.path.rename(paths.runs / f"2026010{9 - at}T000000Z-0000") for at, run in enumerate(named)]
    RECORDS[damage](RunDirectory(renamed[1]))
    new = done(paths, "20200101T000000Z-0000")
    assert [run.path for run in all_runs(paths)] == [*renamed, new.path]
    assert [run.number for run in all_runs(paths)] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"null", b'{"kind": "apply", "undoes": "", "digest": "", "number": "2"}',
                b'{"kind": "apply", "undoes": "", "digest": "", "number": -1}',
                b'{"kind": "apply", "undoes": "", "digest": "", "number": true}',
                b'{"kind": "undo", "undoes": "", "digest": "", "number": 2}']
)  # fmt: skip
def test_a_run_without_metadata_keeps_its_order(paths: StatePaths, content: bytes | None) -> None:
    runs = [done(paths), done(paths), done(paths)]
    path = runs[1].path / "run.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert [run.id for run in all_runs(paths)] == [run.id for run in runs]
    assert [run.number for run in all_runs(paths)] == [1, 2, 3]
    assert done(paths).number == 4


def test_runs_with_one_number_have_an_order_all_the_same(paths: StatePaths) -> None:
    """As after directories were copied together from two disks."""
    run = done(paths, "b")
    for name in ("d", "a", "c"):
        shutil.copytree(run.path, paths.runs / name)
    assert [each.id for each in all_runs(paths)] == ["a", "b", "c", "d"]
    assert done(paths).number == 2


def test_an_exact_id_is_never_ambiguous(paths: StatePaths) -> None:
    done(paths, "run")
    done(paths, "run-2")
    assert find_run(paths, "run").id == "run"
    with pytest.raises(PreflightError, match="matches 2 runs"):
        find_run(paths, "ru")
    for name in ("../run", "/", ".", ".."):
        with pytest.raises(PreflightError):
            find_run(paths, name)


# How a start is refused, and what leaves no trace.


def launch_in(paths: StatePaths, plan: Plan) -> Callable[[RunDirectory], None]:
    return lambda run: void(execute(paths, run, plan.digest(), SimulatedMachine(STATES)))


def void(_value: object) -> None:
    """For callbacks that return nothing."""


def refusals(paths: StatePaths) -> dict[str, Callable[[RunDirectory], None]]:
    def fail(error: BaseException) -> Callable[[RunDirectory], None]:
        def launch(_run: RunDirectory) -> None:
            raise error

        return launch

    def in_its_events(run: RunDirectory) -> None:
        event = {"t": "", "run": run.id, "id": 1, "kind": "summary", "text": "not the plan", "data": {"code": 3}}
        run.events.write_text(json.dumps(event) + "\n")

    return {
        "the unit is refused": fail(PreflightError("not the plan")),
        "the executor says so": in_its_events,
        "the plan is another": lambda run: void(execute(paths, run, "0" * 64, SimulatedMachine(STATES))),
        "interrupted": fail(KeyboardInterrupt()),
        "a bug": fail(RuntimeError("not the plan")),
        "no answer": lambda _run: None,
    }


@pytest.mark.parametrize("how", refusals(StatePaths(Path("/nowhere"))))
def test_a_refused_start_leaves_no_trace(paths: StatePaths, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(begin, "PATIENCE", 0.2)
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    with pytest.raises((PreflightError, KeyboardInterrupt, RuntimeError)):
        begin_run(paths, lambda: create_run(paths, plan, {}), refusals(paths)[how])
    assert list(paths.runs.iterdir()) == []
    run = begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan))
    assert (run.number, [each.id for each in all_runs(paths)]) == (1, [run.id])


def test_an_executor_that_is_slow_to_begin_is_waited_for(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with much other work; one whose process has ended is not waited for."""
    monkeypatch.setattr(begin, "PATIENCE", 0.1)
    monkeypatch.setattr(begin, "LOOK", 0.05)
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    looked = threading.Event()
    look = begin._arguments
    children = []

    def seen(process: Path) -> bytes:
        looked.set()
        return look(process)

    monkeypatch.setattr(begin, "_arguments", seen)

    def launch(run: RunDirectory) -> None:
        argv = [sys.executable, "-c", "input()", "_execute", run.id, "--digest", plan.digest()]
        children.append(subprocess.Popen(argv, stdin=subprocess.PIPE))
        threading.Thread(target=lambda: looked.wait(PATIENCE) and launch_in(paths, plan)(run)).start()

    run = begin_run(paths, lambda: create_run(paths, plan, {}), launch)
    assert run.number == 1
    for child in children:
        child.communicate()


def test_an_interruption_after_the_executor_took_over_leaves_the_run_to_its_front_end(paths: StatePaths) -> None:
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])

    def launch(run: RunDirectory) -> None:
        launch_in(paths, plan)(run)
        raise KeyboardInterrupt

    run = begin_run(paths, lambda: create_run(paths, plan, {}), launch)
    assert [each.id for each in all_runs(paths)] == [run.id]


@pytest.mark.parametrize("which", ["the lock", "the directory of the runs"])
def test_a_file_system_without_locks_refuses_the_start(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (which != "the lock"):
            raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    with pytest.raises(PreflightError, match="cannot be locked: no locks available; nothing was changed"):
        begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan))
    assert list(paths.runs.iterdir()) == []


def test_a_start_is_refused_when_another_run_began_since_it_was_planned(paths: StatePaths) -> None:
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    planned_at = counter(paths)
    run = begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan), planned_at)
    with pytest.raises(PreflightError, match="another run has started in the meantime; nothing was changed"):
        begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan), planned_at)
    assert [path.name for path in paths.runs.iterdir()] == [run.id]
    planned_at = counter(paths)

    def again() -> RunDirectory:
        run.begin_again(plan)
        return run

    begin_run(paths, again, launch_in(paths, plan), planned_at)
    with pytest.raises(PreflightError, match="another run has started in the meantime"):
        begin_run(paths, again, launch_in(paths, plan), planned_at)
    assert counter(paths) == (1, 2)


def test_while_a_run_continues_or_is_being_started_nothing_is_made(paths: StatePaths) -> None:
    def make() -> RunDirectory:
        raise AssertionError("made a run")

    with hold_lock(paths, "other"), pytest.raises(LockHeld, match="other"):
        begin_run(paths, make, void)
    with hold_start(paths), pytest.raises(LockHeld, match="being started"):
        begin_run(paths, make, void)
    assert list(paths.runs.iterdir()) == []


def test_of_two_simultaneous_starters_one_is_refused(paths: StatePaths) -> None:
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    ready = threading.Barrier(2)
    runs: list[RunDirectory] = []
    refused: list[str] = []

    def start() -> None:
        ready.wait()
        try:
            runs.append(begin_run(paths, lambda: create_run(paths, plan, {}), slowly))
        except LockHeld as error:
            refused.append(str(error))

    both = threading.Event()

    def slowly(run: RunDirectory) -> None:
        assert both.wait(PATIENCE)
        launch_in(paths, plan)(run)

    starters = [threading.Thread(target=start) for _ in range(2)]
    for starter in starters:
        starter.start()
    while not refused:
        assert any(starter.is_alive() for starter in starters)
    both.set()
    for starter in starters:
        starter.join()
    assert (len(runs), len(refused), len(list(paths.runs.iterdir()))) == (1, 1, 1)


@pytest.mark.parametrize("left", ["nothing", "settings.json", "plan.json", "everything", "refusal"])
def test_leftovers_of_a_killed_start_are_removed_by_the_next(paths: StatePaths, left: str) -> None:
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    killed = create_run(paths, plan, {})
    if left == "nothing":
        shutil.rmtree(killed.path)
        killed.path.mkdir()
    elif left == "refusal":
        killed.events.write_text("{}\n")
    elif left != "everything":
        (killed.path / "run.json").unlink()
    assert all_runs(paths) == []
    with pytest.raises(PreflightError):
        find_run(paths)
    run = begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan))
    assert [path.name for path in paths.runs.iterdir()] == [run.id]
    with pytest.raises(PreflightError):
        execute(paths, killed, plan.digest(), SimulatedMachine(STATES))
    assert [path.name for path in paths.runs.iterdir()] == [run.id]


@pytest.mark.parametrize("kept", ["journal.jsonl", "result.json", "backup", "events.jsonl"])
def test_a_run_that_lost_its_metadata_is_never_taken_for_a_leftover(paths: StatePaths, kept: str) -> None:
    run = done(paths)
    for path in run.path.iterdir():
        if path.name != kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    plan = plan_of(SimulatedMachine(STATES), steps()[4:5])
    new = begin_run(paths, lambda: create_run(paths, plan, {}), launch_in(paths, plan))
    assert {each.id for each in all_runs(paths)} == {run.id, new.id}


def test_a_refused_further_attempt_keeps_the_last_result(paths: StatePaths) -> None:
    run = done(paths)
    result = run.result()
    assert result is not None
    plan = run.plan()

    def make() -> RunDirectory:
        run.begin_again(plan)
        return run

    with pytest.raises(PreflightError, match="not the one that was confirmed"):
        begin_run(paths, make, lambda run: void(execute(paths, run, "0" * 64, SimulatedMachine(STATES))))
    assert RunDirectory(run.path).result() == result
    begin_run(paths, make, launch_in(paths, plan))
    assert RunDirectory(run.path).number == 1
