"""Operations of one step run concurrently, each with its own inverse, and are logged in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Account, Entry, Key, State
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.events import OrderedLogs
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.recovery import recover
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import Environment, Fault, Moment, SimulatedMachine
from bai_wizard.pages.python.steps import Venv, Venvs
from bai_wizard.resources.pythons import MakeVenv
from tests.unit.engine.plans import plan_of
from tests.unit.engine.test_run import PowerCut, undo_run
from tests.waiting import PATIENCE

SERVICES = ("manager", "agent", "storage-proxy", "webserver")
STATES: dict[Key, State] = {
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("file", "/home/bai"): Entry("directory", 1100, 1100, 0o750),
}
NARRATIVE = Environment(narrative={MakeVenv.kind: ("begun {subject}", "made {subject}")})


def place(service: str) -> str:
    return f"/home/bai/{service}/.venv"


def wanted() -> Venvs:
    python = "/home/bai/.static-python/versions/3.13.7"
    return Venvs(
        id="python.venvs",
        venvs=tuple(
            Venv(
                path=place(service),
                python=python,
                version="3.13.7",
                least="3.13.7",
                requirements=("pip",),
                account="bai",
            )
            for service in SERVICES
        ),
    )


def node(fault: Callable[[str, Moment], None] | None = None) -> SimulatedMachine:
    """A node on which `fault` is asked before and after each environment, with its place."""

    def ask(operation: Operation, moment: Moment) -> None:
        if fault is not None and isinstance(operation, MakeVenv):
            fault(operation.path, moment)

    asked: Fault = ask
    return SimulatedMachine(STATES, NARRATIVE, fault=asked)


def run_on(machine: SimulatedMachine, paths: StatePaths) -> tuple[RunDirectory, Result]:
    plan = plan_of(machine, (wanted(),))
    run = create_run(paths, plan, {})
    return run, execute(paths, run, plan.digest(), machine)


def made(machine: SimulatedMachine) -> list[str]:
    return [service for service in SERVICES if machine.venv(place(service)) is not None]


def cut_from(number: int) -> Callable[[str], None]:
    """No thread gets beyond this many instants of the run."""
    calls = iter(range(1_000_000))

    def checkpoint(name: str) -> None:
        if next(calls) >= number:
            raise PowerCut(name)

    return checkpoint


def test_all_but_the_first_are_under_way_at_the_same_time(tmp_path: Path) -> None:
    meeting = Barrier(len(SERVICES) - 1, timeout=PATIENCE)

    def wait_for_the_others(path: str, moment: Moment) -> None:
        if moment == "before" and path != place("manager"):
            meeting.wait()

    machine = node(wait_for_the_others)
    before = machine.snapshot()
    run, result = run_on(machine, StatePaths(tmp_path))
    assert result.code() is ExitCode.OK
    assert plan_of(machine, (wanted(),)).is_empty()
    assert undo_run(StatePaths(tmp_path), machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_lines_are_in_task_order_whichever_finishes_first(tmp_path: Path) -> None:
    last = Event()

    def the_second_waits_for_the_last(path: str, moment: Moment) -> None:
        if path == place("agent") and moment == "before":
            assert last.wait(PATIENCE)
        if path == place("webserver") and moment == "after":
            last.set()

    run, result = run_on(node(the_second_waits_for_the_last), StatePaths(tmp_path))
    assert result.code() is ExitCode.OK
    lines = [
        event["text"] for event in map(json.loads, run.events.read_text().splitlines()) if event["kind"] == "progress"
    ]
    assert lines == [f"{word} {place(service)}" for service in SERVICES for word in ("begun", "made")]


def test_the_current_task_is_logged_immediately() -> None:
    heard: list[str] = []
    logs = OrderedLogs(lambda text, **_about: heard.append(text), 3)
    logs.of(2)("c1")
    logs.of(0)("a1")
    assert heard == ["a1"]
    logs.of(1)("b1")
    logs.end(1)
    assert heard == ["a1"]
    logs.end(0)
    assert heard == ["a1", "b1", "c1"]
    logs.of(2)("c2")
    assert heard[-1] == "c2"
    logs.end(2)


def test_one_that_fails_is_reported_and_the_others_come_to_their_end(tmp_path: Path) -> None:
    begun, failed = Event(), Event()

    def the_third_fails(path: str, moment: Moment) -> None:
        if path == place("storage-proxy") and moment == "before":
            assert begun.wait(PATIENCE)
            failed.set()
            raise StepFailed("no such package")
        if path == place("webserver") and moment == "before":
            begun.set()
            assert failed.wait(PATIENCE)

    machine = node(the_third_fails)
    before = machine.snapshot()
    run, result = run_on(machine, StatePaths(tmp_path))
    assert result.code() is ExitCode.FAILED
    assert [step.text for step in result.steps] == ["no such package"]
    assert made(machine) == ["manager", "agent", "webserver"]
    statuses = {
        entry.operation.path: entry.status
        for entry in journal_of(run).entries()
        if isinstance(entry.operation, MakeVenv)
    }
    assert statuses == {
        place("manager"): "done", place("agent"): "done",
        place("storage-proxy"): "void", place("webserver"): "done",
    }  # fmt: skip
    assert undo_run(StatePaths(tmp_path), machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_a_run_that_is_asked_to_stop_begins_no_further_one(tmp_path: Path) -> None:
    asked: list[str] = []
    machine = node(lambda path, moment: asked.append(path) if moment == "after" else None)
    plan = plan_of(machine, (wanted(),))
    run = create_run(StatePaths(tmp_path), plan, {})
    result = execute(StatePaths(tmp_path), run, plan.digest(), machine, should_stop=lambda: bool(asked))
    assert result.code() is ExitCode.INTERRUPTED
    assert made(machine) == ["manager"]


@pytest.mark.parametrize("number", range(33))
def test_a_power_cut_at_any_instant_is_resumed_and_undone(tmp_path: Path, number: int) -> None:
    machine, paths = node(), StatePaths(tmp_path)
    before = machine.snapshot()
    plan = plan_of(machine, (wanted(),))
    run = create_run(paths, plan, {})
    try:
        execute(paths, run, plan.digest(), machine, checkpoint=cut_from(number))
    except PowerCut:
        assert run.result() is None
    recover(journal_of(run), machine)
    again = plan_of(machine, (wanted(),))
    run.begin_attempt(again, run.metadata)
    assert execute(paths, run, again.digest(), machine).code() is ExitCode.OK
    assert made(machine) == list(SERVICES)
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before
