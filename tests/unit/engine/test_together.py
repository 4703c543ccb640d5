"""Several primitives of one step at once: really at once, each with its own way back, and told in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.primitives import MakeVenv, Primitive
from bai_wizard.core.state import Account, Entry, Key, State
from bai_wizard.engine.run.directory import RunDirectory, create_run
from bai_wizard.engine.run.durable import read_lines
from bai_wizard.engine.run.execute import execute
from bai_wizard.engine.run.in_turn import InTurn
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result
from bai_wizard.engine.run.settle import settle
from bai_wizard.engine.run.undo import journal_of
from bai_wizard.exits import ExitCode
from bai_wizard.machine.simulated import Fault, Moment, SimulatedMachine, Surroundings
from bai_wizard.steps.venv import Venv, Venvs
from tests.unit.engine.plans import plan_of
from tests.unit.engine.test_run import PowerCut, undo_run

SERVICES = ("manager", "agent", "storage-proxy", "webserver")
STATES: dict[Key, State] = {
    Key("user", "bai"): Account("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    Key("file", "/home/bai"): Entry("directory", 1100, 1100, 0o750),
}
NARRATIVE = Surroundings(narrative={MakeVenv.kind: ("begun {subject}", "made {subject}")})


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

    def ask(primitive: Primitive, moment: Moment) -> None:
        if fault is not None and isinstance(primitive, MakeVenv):
            fault(primitive.path, moment)

    asked: Fault = ask
    return SimulatedMachine(STATES, NARRATIVE, fault=asked)


def run_on(machine: SimulatedMachine, places: Places) -> tuple[RunDirectory, Result]:
    plan = plan_of(machine, (wanted(),))
    run = create_run(places, plan, {})
    return run, execute(places, run, plan.digest(), machine)


def made(machine: SimulatedMachine) -> list[str]:
    return [service for service in SERVICES if machine.venv(place(service)) is not None]


def cut_from(number: int) -> Callable[[str], None]:
    """No thread gets beyond this many instants of the run."""
    calls = iter(range(1_000_000))

    def instant(name: str) -> None:
        if next(calls) >= number:
            raise PowerCut(name)

    return instant


def test_all_but_the_first_are_under_way_at_the_same_time(tmp_path: Path) -> None:
    meeting = Barrier(len(SERVICES) - 1, timeout=10)

    def wait_for_the_others(path: str, moment: Moment) -> None:
        if moment == "before" and path != place("manager"):
            meeting.wait()

    machine = node(wait_for_the_others)
    before = machine.snapshot()
    run, result = run_on(machine, Places(tmp_path))
    assert result.code() is ExitCode.OK
    assert plan_of(machine, (wanted(),)).is_empty()
    assert undo_run(Places(tmp_path), machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_their_lines_stand_in_their_order_whoever_is_ready_first(tmp_path: Path) -> None:
    last = Event()

    def the_second_waits_for_the_last(path: str, moment: Moment) -> None:
        if path == place("agent") and moment == "before":
            assert last.wait(10)
        if path == place("webserver") and moment == "after":
            last.set()

    run, result = run_on(node(the_second_waits_for_the_last), Places(tmp_path))
    assert result.code() is ExitCode.OK
    told = [event["text"] for event in read_lines(run.events) if event["kind"] == "progress"]
    assert told == [f"{word} {place(service)}" for service in SERVICES for word in ("begun", "made")]


def test_the_one_whose_turn_it_is_is_heard_at_once() -> None:
    heard: list[str] = []
    logs = InTurn(lambda text, **_about: heard.append(text), 3)
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


def test_one_that_fails_is_told_and_the_others_come_to_their_end(tmp_path: Path) -> None:
    failed = Event()

    def the_third_fails(path: str, moment: Moment) -> None:
        if path == place("storage-proxy") and moment == "before":
            failed.set()
            raise StepFailed("no such package")
        if path == place("webserver") and moment == "before":
            assert failed.wait(10)

    machine = node(the_third_fails)
    before = machine.snapshot()
    run, result = run_on(machine, Places(tmp_path))
    assert result.code() is ExitCode.FAILED
    assert [step.text for step in result.steps] == ["no such package"]
    assert made(machine) == ["manager", "agent", "webserver"]
    fates = {
        entry.primitive.path: entry.fate
        for entry in journal_of(run).entries()
        if isinstance(entry.primitive, MakeVenv)
    }
    assert fates == {
        place("manager"): "done", place("agent"): "done",
        place("storage-proxy"): "void", place("webserver"): "done",
    }  # fmt: skip
    assert undo_run(Places(tmp_path), machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before


def test_a_run_that_is_asked_to_stop_begins_no_further_one(tmp_path: Path) -> None:
    asked: list[str] = []
    machine = node(lambda path, moment: asked.append(path) if moment == "after" else None)
    plan = plan_of(machine, (wanted(),))
    run = create_run(Places(tmp_path), plan, {})
    result = execute(Places(tmp_path), run, plan.digest(), machine, should_stop=lambda: bool(asked))
    assert result.code() is ExitCode.INTERRUPTED
    assert made(machine) == ["manager"]


@pytest.mark.parametrize("number", range(33))
def test_a_power_cut_at_every_instant_is_resumed_and_undone(tmp_path: Path, number: int) -> None:
    machine, places = node(), Places(tmp_path)
    before = machine.snapshot()
    plan = plan_of(machine, (wanted(),))
    run = create_run(places, plan, {})
    try:
        execute(places, run, plan.digest(), machine, instant=cut_from(number))
    except PowerCut:
        assert run.result() is None
    settle(journal_of(run), machine)
    again = plan_of(machine, (wanted(),))
    run.begin_attempt(again, run.about)
    assert execute(places, run, again.digest(), machine).code() is ExitCode.OK
    assert made(machine) == list(SERVICES)
    assert undo_run(places, machine, run).code() is ExitCode.OK
    assert machine.snapshot() == before
