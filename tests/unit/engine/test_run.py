"""A run from plan to undo over a simulated node, and every place where the power can go."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.plan import Plan
from bai_wizard.core.state import Entry, Key, State, Unit
from bai_wizard.core.step import Pending
from bai_wizard.engine.run.cut import cut_runs, settle_cut_runs
from bai_wizard.engine.run.directory import RunDirectory, create_run
from bai_wizard.engine.run.execute import execute
from bai_wizard.engine.run.lock import hold_lock
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.engine.run.settle import settle
from bai_wizard.engine.run.undo import journal_of, plan_undo
from bai_wizard.exits import ExitCode
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.steps.service import Service
from bai_wizard.steps.write_file import DropIn
from tests.unit.engine.plans import STATES, plan_of, steps


class PowerCut(BaseException):
    """The executor ends here, at once."""


def cut_at(number: int) -> Callable[[str], None]:
    """An instant hook that cuts the power at the given call, counted from 0."""
    calls = iter(range(1_000_000))

    def instant(name: str) -> None:
        if next(calls) == number:
            raise PowerCut(name)

    return instant


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.fixture
def machine() -> SimulatedMachine:
    return SimulatedMachine(STATES)


def run_plan(places: Places, machine: SimulatedMachine, plan: Plan) -> tuple[RunDirectory, Result]:
    run = create_run(places, plan, {})
    return run, execute(places, run, plan.digest(), machine)


def undo_run(places: Places, machine: SimulatedMachine, run: RunDirectory, **about: Any) -> Result:
    plan = Plan("test")
    undo = create_run(places, plan, {}, kind="undo", undoes=run.id)
    undo.begin_attempt(plan, {**undo.about, **about})
    return execute(places, undo, plan.digest(), machine)


def content(machine: SimulatedMachine, path: str) -> bytes | None:
    entry = machine.state(Key("file", path))
    return entry.content if isinstance(entry, Entry) else None


def test_two_steps_on_one_file_show_a_chained_diff(machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    again = next(item for item in plan.steps if item.step.id == "node.motd-again")
    assert isinstance(again.verdict, Pending)
    assert again.verdict.changes[0].before == "first\n"
    assert "+second" in again.verdict.changes[0].diff()


def test_apply_then_plan_again_is_empty_and_undo_restores(places: Places, machine: SimulatedMachine) -> None:
    before = machine.snapshot()
    run, result = run_plan(places, machine, plan_of(machine, steps()))
    assert result.code() is ExitCode.OK
    assert content(machine, "/etc/motd") == b"first\nsecond\n"
    # The first of the two writers of one file would take the second's line away: only the last may be asked.
    assert plan_of(machine, (steps()[0], *steps()[3:])).is_empty()
    assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(28))
def test_power_cut_at_every_instant_is_resumed_and_undone(
    places: Places, machine: SimulatedMachine, number: int
) -> None:
    before = machine.snapshot()
    wanted = tuple(step for step in steps() if step.id != "node.motd")
    plan = plan_of(machine, wanted)
    run = create_run(places, plan, {})
    try:
        execute(places, run, plan.digest(), machine, instant=cut_at(number))
    except PowerCut:
        assert run.result() is None
    settle(journal_of(run), machine)
    again = plan_of(machine, wanted)
    run.begin_attempt(again, run.about)
    assert execute(places, run, again.digest(), machine).code() is ExitCode.OK
    assert plan_of(machine, wanted).is_empty()
    assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(24))
def test_power_cut_during_undo_is_continued(places: Places, machine: SimulatedMachine, number: int) -> None:
    before = machine.snapshot()
    run, _ = run_plan(places, machine, plan_of(machine, steps()))
    plan = Plan("test")
    undo = create_run(places, plan, {}, kind="undo", undoes=run.id)
    try:
        execute(places, undo, plan.digest(), machine, instant=cut_at(number))
    except PowerCut:
        assert machine.snapshot() != before or number > 16
    assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(0, 28, 3))
def test_a_new_run_after_one_that_was_cut_starts_from_a_settled_node(
    places: Places, machine: SimulatedMachine, number: int
) -> None:
    before = machine.snapshot()
    wanted = tuple(step for step in steps() if step.id != "node.motd")
    plan = plan_of(machine, wanted)
    first = create_run(places, plan, {})
    with suppress(PowerCut):
        execute(places, first, plan.digest(), machine, instant=cut_at(number))
    is_open = any(entry.fate == "open" for entry in journal_of(first).entries())
    assert [run.id for run in cut_runs(places)] == ([first.id] if is_open else [])
    told = settle_cut_runs(places, machine)
    assert bool(told) == is_open
    assert cut_runs(places) == []
    second, result = run_plan(places, machine, plan_of(machine, wanted))
    assert result.code() is ExitCode.OK
    for run in (second, first):
        assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_while_a_run_is_alive_nothing_of_it_is_settled(places: Places, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(places, plan, {})
    with suppress(PowerCut):
        execute(places, run, plan.digest(), machine, instant=cut_at(1))
    with hold_lock(places, {"run": run.id}):
        assert settle_cut_runs(places, machine) == []
    assert len(settle_cut_runs(places, machine)) == 1


@pytest.mark.parametrize("way", ["damaged", "unknown"])
def test_a_journal_that_nobody_can_read_keeps_nobody_from_a_new_run(
    places: Places, machine: SimulatedMachine, way: str
) -> None:
    plan = plan_of(machine, steps())
    run = create_run(places, plan, {})
    with suppress(PowerCut):
        execute(places, run, plan.digest(), machine, instant=cut_at(1))
    text = run.journal.read_text()
    other = text.replace("make-directory", "made-by-another-version")
    assert other != text
    run.journal.write_text("{torn\n" + text if way == "damaged" else other)
    (told,) = settle_cut_runs(places, machine)
    assert f"run {run.id} was cut, and its journal cannot be read" in told
    second, result = run_plan(places, machine, plan_of(machine, steps()))
    assert result.code() is ExitCode.OK
    assert undo_run(places, machine, second).code() is ExitCode.OK


def test_undo_leaves_what_somebody_edited_and_says_so(places: Places, machine: SimulatedMachine) -> None:
    run, _ = run_plan(places, machine, plan_of(machine, steps()))
    edited = Entry("file", 0, 0, 0o644, b"first\nsecond\nmine\n")
    machine.set_state(Key("file", "/etc/motd"), edited)
    wanted = plan_undo(run, machine)
    assert any("+mine" in text for text in wanted.conflicts)
    assert undo_run(places, machine, run).code() is ExitCode.FAILED
    assert content(machine, "/etc/motd") == edited.content
    assert machine.state(Key("file", "/etc/new.conf")) is None
    assert undo_run(places, machine, run, force=True).code() is ExitCode.OK
    assert content(machine, "/etc/motd") == b"before\n"


def test_what_an_undo_would_hit_is_asked_for_and_looked_at_right_before(places: Places) -> None:
    """Docker was restarted on an empty node; by now containers run there."""
    unit = Unit("enabled", "active", 1.0)
    states = {
        **STATES,
        Key("unit", "docker.service"): unit,
        Key("file", "/etc/docker.conf"): STATES[Key("file", "/etc/motd")],
    }
    machine = SimulatedMachine(states)
    written = DropIn(id="docker.config", path="/etc/docker.conf", text="first\n", why="x")
    restart = Service(id="docker.restart", unit="docker.service", reads=("/etc/docker.conf",))
    run, result = run_plan(places, machine, plan_of(machine, (written, restart)))
    assert result.code() is ExitCode.OK
    assert plan_undo(run, machine).hits == {}
    machine.surroundings = replace(machine.surroundings, affected={"docker.restart": ("sleeper",)})
    assert plan_undo(run, machine).hits == {"docker.restart": ("sleeper",)}
    refused = undo_run(places, machine, run)
    assert refused.code() is ExitCode.FAILED
    assert "sleeper" in refused.steps[0].text
    assert content(machine, "/etc/docker.conf") == b"before\n", "what hits nobody is done"
    before = len(machine.performed)
    assert undo_run(places, machine, run, consent=["docker.restart"]).code() is ExitCode.OK
    assert [type(primitive).__name__ for primitive in machine.performed[before:]] == ["RestartUnit"]


def test_a_directory_that_holds_foreign_things_stays(places: Places, machine: SimulatedMachine) -> None:
    run, _ = run_plan(places, machine, plan_of(machine, steps()))
    theirs: State = Entry("file", 1100, 1100, 0o644, b"data")
    machine.set_state(Key("file", "/vfroot/local/data"), theirs)
    assert undo_run(places, machine, run).code() is ExitCode.FAILED
    assert machine.state(Key("file", "/vfroot/local/data")) == theirs


def test_a_file_that_changed_since_review_is_not_written(places: Places, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    machine.set_state(Key("file", "/etc/motd"), Entry("file", 0, 0, 0o600, b"somebody else's\n"))
    run, result = run_plan(places, machine, plan)
    assert result.code() is ExitCode.FAILED
    failed = next(step for step in result.steps if step.outcome == "failed")
    assert "changed since review" in failed.text
    assert content(machine, "/etc/motd") == b"somebody else's\n"
    assert content(machine, "/etc/new.conf") is None
    assert run.result() is not None


def test_another_plan_than_the_confirmed_one_is_refused(places: Places, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(places, plan, {})
    with pytest.raises(Exception, match="not the one that was confirmed"):
        execute(places, run, "0" * 64, machine)
    assert machine.snapshot() == SimulatedMachine(STATES).snapshot()


def test_stop_request_ends_after_the_step_and_resume_goes_on(places: Places, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(places, plan, {})
    asked = iter([False, False, True])
    result = execute(places, run, plan.digest(), machine, should_stop=lambda: next(asked))
    assert result.code() is ExitCode.INTERRUPTED
    assert result.count("changed") == 2


class FullDisk:
    """Stands for `os.write` on a disk with that many bytes left, shared by everything a run writes down."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.left])
        self.left -= written
        return written


@pytest.mark.parametrize("left", [0, 10, 700, *range(1000, 6000, 499)])
def test_a_disk_that_fills_up_stops_the_run_and_spoils_nothing(
    places: Places, machine: SimulatedMachine, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal and events end with a whole line wherever the room ends; later lines are read as ever."""
    before = machine.snapshot()
    plan = plan_of(machine, tuple(step for step in steps() if step.id != "node.motd"))
    run = create_run(places, plan, {})
    (run.path / "reserve").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("bai_wizard.engine.run.durable.os.write", FullDisk(left))
        result = execute(places, run, plan.digest(), machine)
    assert result.code() is ExitCode.FAILED
    assert "no space left" in next(step.text for step in result.steps if step.outcome == "failed")
    for line in run.events.read_bytes().splitlines():
        json.loads(line)
    settle(journal_of(run), machine)
    again = plan_of(machine, tuple(item.step for item in plan.steps))
    run.begin_attempt(again, run.about)
    assert execute(places, run, again.digest(), machine).code() is ExitCode.OK
    assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_the_reserved_room_carries_the_words_of_the_end(
    places: Places, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(machine, steps())
    run = create_run(places, plan, {})
    disk = FullDisk(300)
    unlink = Path.unlink

    def give_up(path: Path, missing_ok: bool = False) -> None:
        disk.left += path.stat().st_size if path.name == "reserve" and path.exists() else 0
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr("bai_wizard.engine.run.durable.os.write", disk)
        patch.setattr(Path, "unlink", give_up)
        execute(places, run, plan.digest(), machine)
    assert not (run.path / "reserve").exists()
    last = json.loads(run.events.read_bytes().splitlines()[-1])
    assert last["kind"] == "summary"
