"""A run from plan to undo on a simulated node, with a power failure at every point."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.codec import KEPT
from bai_wizard.core.consent import Affected, agree, consents_to_json
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.event import Log, silent
from bai_wizard.core.predicted import PredictedMachine
from bai_wizard.core.state import Entry, Key, State, Unit
from bai_wizard.core.step import Pending, Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.durable import write_json
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths, hold_lock, moment
from bai_wizard.engine.recovery import interrupted_runs, predict_recovered, recover, recover_interrupted_runs
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.services import Service
from tests.unit.engine.plans import STATES, plan_of, steps


class PowerCut(BaseException):
    """The executor ends here, at once."""


def cut_at(number: int) -> Callable[[str], None]:
    """An instant hook that cuts the power at the given call, counted from 0."""
    calls = iter(range(1_000_000))

    def checkpoint(name: str) -> None:
        if next(calls) == number:
            raise PowerCut(name)

    return checkpoint


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


@pytest.fixture
def machine() -> SimulatedMachine:
    return SimulatedMachine(STATES)


def run_plan(paths: StatePaths, machine: SimulatedMachine, plan: Plan) -> tuple[RunDirectory, Result]:
    run = create_run(paths, plan, {})
    return run, execute(paths, run, plan.digest(), machine)


def undo_run(paths: StatePaths, machine: SimulatedMachine, run: RunDirectory, **about: Any) -> Result:
    plan = Plan("test")
    undo = create_run(paths, plan, {}, kind="undo", undoes=run.id)
    undo.begin_attempt(plan, {**undo.metadata, **about})
    return execute(paths, undo, plan.digest(), machine)


def content(machine: SimulatedMachine, path: str) -> bytes | None:
    entry = machine.state(Key("file", path))
    return entry.content if isinstance(entry, Entry) else None


def test_two_steps_on_one_file_show_a_chained_diff(machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    again = next(item for item in plan.steps if item.step.id == "node.motd-again")
    assert isinstance(again.verdict, Pending)
    assert again.verdict.changes[0].before == "first\n"
    assert "+second" in again.verdict.changes[0].diff()


def test_apply_then_plan_again_is_empty_and_undo_restores(paths: StatePaths, machine: SimulatedMachine) -> None:
    before = machine.snapshot()
    run, result = run_plan(paths, machine, plan_of(machine, steps()))
    assert result.code() is ExitCode.OK
    assert content(machine, "/etc/motd") == b"first\nsecond\n"
    # The first of the two writers of one file would take the second's line away: only the last may be asked.
    assert plan_of(machine, (steps()[0], *steps()[3:])).is_empty()
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(28))
def test_a_power_cut_at_any_instant_is_resumed_and_undone(
    paths: StatePaths, machine: SimulatedMachine, number: int
) -> None:
    before = machine.snapshot()
    wanted = tuple(step for step in steps() if step.id != "node.motd")
    plan = plan_of(machine, wanted)
    run = create_run(paths, plan, {})
    try:
        execute(paths, run, plan.digest(), machine, checkpoint=cut_at(number))
    except PowerCut:
        assert run.result() is None
    recover(journal_of(run), machine)
    again = plan_of(machine, wanted)
    run.begin_attempt(again, run.metadata)
    assert execute(paths, run, again.digest(), machine).code() is ExitCode.OK
    assert plan_of(machine, wanted).is_empty()
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(24))
def test_undo_continues_after_a_power_cut(paths: StatePaths, machine: SimulatedMachine, number: int) -> None:
    before = machine.snapshot()
    run, _ = run_plan(paths, machine, plan_of(machine, steps()))
    plan = Plan("test")
    undo = create_run(paths, plan, {}, kind="undo", undoes=run.id)
    try:
        execute(paths, undo, plan.digest(), machine, checkpoint=cut_at(number))
    except PowerCut:
        assert machine.snapshot() != before or number > 16
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("number", range(0, 28, 3))
def test_a_new_run_recovers_an_interrupted_one_first(
    paths: StatePaths, machine: SimulatedMachine, number: int
) -> None:
    before = machine.snapshot()
    wanted = tuple(step for step in steps() if step.id != "node.motd")
    plan = plan_of(machine, wanted)
    first = create_run(paths, plan, {})
    with suppress(PowerCut):
        execute(paths, first, plan.digest(), machine, checkpoint=cut_at(number))
    is_open = any(entry.status == "open" for entry in journal_of(first).entries())
    assert [run.id for run in interrupted_runs(paths)] == ([first.id] if is_open else [])
    lines = recover_interrupted_runs(paths, machine)
    assert bool(lines) == is_open
    assert interrupted_runs(paths) == []
    second, result = run_plan(paths, machine, plan_of(machine, wanted))
    assert result.code() is ExitCode.OK
    for run in (second, first):
        assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_while_a_run_is_alive_nothing_of_it_is_settled(paths: StatePaths, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    with suppress(PowerCut):
        execute(paths, run, plan.digest(), machine, checkpoint=cut_at(1))
    with hold_lock(paths, run.id):
        assert recover_interrupted_runs(paths, machine) == []
    assert len(recover_interrupted_runs(paths, machine)) == 1


@pytest.mark.parametrize("way", ["damaged", "unknown"])
def test_a_journal_that_no_one_can_read_keeps_no_one_from_a_new_run(
    paths: StatePaths, machine: SimulatedMachine, way: str
) -> None:
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    with suppress(PowerCut):
        execute(paths, run, plan.digest(), machine, checkpoint=cut_at(1))
    text = run.journal.read_text()
    other = text.replace("make-directory", "made-by-another-version")
    assert other != text
    run.journal.write_text("{torn\n" + text if way == "damaged" else other)
    lines = recover_interrupted_runs(paths, machine)
    assert any(f"run {run.id} is damaged: journal.jsonl, line " in text for text in lines)
    second, result = run_plan(paths, machine, plan_of(machine, steps()))
    assert result.code() is ExitCode.OK
    assert undo_run(paths, machine, second).code() is ExitCode.OK


def test_undo_keeps_a_line_edited_by_others_and_reports_it(paths: StatePaths, machine: SimulatedMachine) -> None:
    run, _ = run_plan(paths, machine, plan_of(machine, steps()))
    edited = Entry("file", 0, 0, 0o644, b"first, edited\nsecond\nmine\n")
    machine.set_state(Key("file", "/etc/motd"), edited)
    wanted = plan_undo(run, machine)
    assert any("first, edited" in text for text in wanted.conflicts)
    assert undo_run(paths, machine, run).code() is ExitCode.FAILED
    assert content(machine, "/etc/motd") == b"first, edited\nmine\n"
    assert machine.state(Key("file", "/etc/new.conf")) is None
    assert undo_run(paths, machine, run, force=True).code() is ExitCode.OK
    assert content(machine, "/etc/motd") == b"before\nmine\n"


def test_undo_asks_for_interruptions_and_checks_them_again(paths: StatePaths) -> None:
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
    run, result = run_plan(paths, machine, plan_of(machine, (written, restart)))
    assert result.code() is ExitCode.OK
    assert plan_undo(run, machine).disruptions == {}
    machine.environment = replace(machine.environment, affected={"docker.restart": ("sleeper",)})
    assert plan_undo(run, machine).disruptions == {"docker.restart": (Affected("sleeper", "sleeper"),)}
    refused = undo_run(paths, machine, run)
    assert refused.code() is ExitCode.FAILED
    assert "sleeper" in refused.steps[0].text
    assert content(machine, "/etc/docker.conf") == b"before\n", "what hits nobody is done"
    before = len(machine.performed)
    assert undo_run(paths, machine, run, consent=["docker.restart"]).code() is ExitCode.FAILED, "a word names no set"
    assert len(machine.performed) == before
    agreed = consents_to_json(agree(plan_undo(run, machine).disruptions, ["docker.restart"], moment()))
    assert undo_run(paths, machine, run, consent=agreed).code() is ExitCode.OK
    assert [type(operation).__name__ for operation in machine.performed[before:]] == ["RestartUnit"]


def test_a_directory_that_holds_foreign_things_stays(paths: StatePaths, machine: SimulatedMachine) -> None:
    run, _ = run_plan(paths, machine, plan_of(machine, steps()))
    theirs: State = Entry("file", 1100, 1100, 0o644, b"data")
    machine.set_state(Key("file", "/vfroot/local/data"), theirs)
    result = undo_run(paths, machine, run)
    assert result.code() is ExitCode.OK
    assert "storage.local: /vfroot/local/ holds data" in result.lasting
    assert machine.state(Key("file", "/vfroot/local/data")) == theirs


def test_a_file_that_changed_since_review_is_not_written(paths: StatePaths, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    machine.set_state(Key("file", "/etc/motd"), Entry("file", 0, 0, 0o600, b"somebody else's\n"))
    run, result = run_plan(paths, machine, plan)
    assert result.code() is ExitCode.FAILED
    failed = next(step for step in result.steps if step.outcome == "failed")
    assert "changed since review" in failed.text
    assert content(machine, "/etc/motd") == b"somebody else's\n"
    assert content(machine, "/etc/new.conf") is None
    assert run.result() is not None


def test_another_plan_than_the_confirmed_one_is_refused(paths: StatePaths, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    with pytest.raises(Exception, match="not the one that was confirmed"):
        execute(paths, run, "0" * 64, machine)
    assert machine.snapshot() == SimulatedMachine(STATES).snapshot()


def test_stop_request_ends_after_the_step_and_resume_continues(paths: StatePaths, machine: SimulatedMachine) -> None:
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    asked = iter([False, False, True])
    result = execute(paths, run, plan.digest(), machine, should_stop=lambda: next(asked))
    assert result.code() is ExitCode.INTERRUPTED
    assert result.count("changed") == 2


# Bytes that the first record of a journal takes, at most.
FIRST_RECORD = 200


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
    paths: StatePaths, machine: SimulatedMachine, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal and events end with a whole line wherever the room ends; later lines are read as ever."""
    before = machine.snapshot()
    plan = plan_of(machine, tuple(step for step in steps() if step.id != "node.motd"))
    run = create_run(paths, plan, {})
    (run.path / "reserve").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("bai_wizard.engine.durable.os.write", FullDisk(left))
        if left < FIRST_RECORD:
            with pytest.raises(PreflightError, match="no space left on device: nothing was changed"):
                execute(paths, run, plan.digest(), machine)
            assert machine.snapshot() == before
        else:
            result = execute(paths, run, plan.digest(), machine)
            assert result.code() is ExitCode.FAILED
            assert "no space left" in next(step.text for step in result.steps if step.outcome == "failed")
            for line in run.events.read_bytes().splitlines():
                json.loads(line)
    recover(journal_of(run), machine)
    again = plan_of(machine, tuple(item.step for item in plan.steps))
    run.begin_attempt(again, run.metadata)
    assert execute(paths, run, again.digest(), machine).code() is ExitCode.OK
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_reserved_space_holds_the_final_records(
    paths: StatePaths, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    disk = FullDisk(300)
    unlink = Path.unlink

    def give_up(path: Path, missing_ok: bool = False) -> None:
        disk.left += path.stat().st_size if path.name == "reserve" and path.exists() else 0
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr("bai_wizard.engine.durable.os.write", disk)
        patch.setattr(Path, "unlink", give_up)
        execute(paths, run, plan.digest(), machine)
    assert not (run.path / "reserve").exists()
    last = json.loads(run.events.read_bytes().splitlines()[-1])
    assert last["kind"] == "summary"


def test_undo_has_systemd_read_its_files_before_it_restarts_a_service(paths: StatePaths) -> None:
    """Otherwise the service would start with a drop-in, and what that names, which are gone already."""
    unit, path = "docker.service", "/etc/systemd/system/docker.service.d/x.conf"
    states: dict[Key, State] = {
        Key("file", "/etc/systemd/system/docker.service.d"): Entry("directory", 0, 0, 0o755),
        Key("unit", unit): Unit("enabled", "active", 100.0),
    }
    machine = SimulatedMachine(states)
    written = DropIn(id="docker.drop-in", path=path, text="[Service]\n", why="test")
    plan = plan_of(machine, (written, Service(id="docker.restart", unit=unit, reads=(path,))))
    run, result = run_plan(paths, machine, plan)
    assert result.code() is ExitCode.OK
    done = len(machine.performed)
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    kinds = [operation.kind for operation in machine.performed[done:]]
    assert kinds.index("remove-path") < kinds.index("reload-units") < kinds.index("restart-unit")


@pytest.mark.parametrize("number", range(0, 28))
def test_a_prediction_of_recovery_is_what_recovery_does(
    paths: StatePaths, machine: SimulatedMachine, number: int
) -> None:
    """Plans of undo are made over it, with the same states and messages."""
    plan = plan_of(machine, steps())
    run = create_run(paths, plan, {})
    with suppress(PowerCut):
        execute(paths, run, plan.digest(), machine, checkpoint=cut_at(number))
    predicted, messages = predict_recovered(journal_of(run).entries(), PredictedMachine(machine))
    journal = journal_of(run)
    assert recover(journal, machine) == messages
    ends = [(entry.number, entry.status, entry.after) for entry in journal_of(run).entries()]
    assert [(entry.number, entry.status, entry.after) for entry in predicted] == ends


def test_a_package_tool_of_an_earlier_attempt_ends_before_anything_is_provided(paths: StatePaths) -> None:
    order: list[str] = []

    class Node(SimulatedMachine):
        def wait_for_package_tool(self, log: Log = silent, *, taken: bool = False) -> None:
            order.append(f"waited, taken: {taken}")

    @contextmanager
    def sources() -> Iterator[None]:
        order.append("provided")
        yield

    node = Node(STATES)
    plan = plan_of(node, steps())
    run = create_run(paths, plan, {})
    assert execute(paths, run, plan.digest(), node, sources=sources).code() is ExitCode.OK
    assert order[:2] == ["waited, taken: True", "provided"]


def test_a_plan_that_was_changed_on_the_disk_is_not_applied(paths: StatePaths, machine: SimulatedMachine) -> None:
    """The digest was confirmed for what was shown; run.json alone does not vouch for plan.json."""
    before = machine.snapshot()
    plan, other = plan_of(machine, steps()), plan_of(machine, steps()[:1])
    run = create_run(paths, plan, {})
    write_json(run.path / "plan.json", other.to_json(KEPT))
    for digest in (plan.digest(), other.digest()):
        with pytest.raises(PreflightError):
            execute(paths, run, digest, machine)
    assert machine.snapshot() == before
