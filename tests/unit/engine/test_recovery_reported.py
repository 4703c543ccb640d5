"""Recovery of an interrupted run is planned and reported once, whichever front end starts the next run."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import pytest

from bai_wizard.commands import wizard
from bai_wizard.compose import desired_from_json
from bai_wizard.core.errors import PlanOutdated, StepFailed
from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import Operation
from bai_wizard.core.page import Check, CheckWords, Context, Finding
from bai_wizard.core.state import Key
from bai_wizard.engine.directory import RunDirectory, all_runs, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.recovery import interrupted_runs
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.users import AddUser
from bai_wizard.session import Session
from bai_wizard.ui.text import output
from tests.unit.engine.plans import plan_of
from tests.unit.engine.test_plans_change_nothing import ACCOUNT, files
from tests.unit.engine.test_run_selection import FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

USER = Key("user", "new")
# What is said of the account that the interrupted run had created only half.
SAID = "account.user: new was incomplete when the run was interrupted; it was restored"
COMMANDS = {
    "headless": ("--headless", "ANSWERS"),
    "resume": ("resume", "RUN"),
    "undo": ("undo", "RUN"),
    "fix": ("doctor", "--fix", "planted", "--yes"),
}


@pytest.fixture
def interrupted(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run that was stopped, and after it one that was killed while it created an account; the older run."""
    older = seat.apply(FIRST, SECOND, cut=3)
    seat.apply(ACCOUNT, cut=6)
    assert seat.machine.state(USER) is not None
    seat.wanted = (FIRST, SECOND, ACCOUNT)

    def look(machine: Machine, _context: Context) -> Finding:
        is_there = machine.state(Key("file", "/etc/second.conf")) is not None
        return Finding("planted", "ok" if is_there else "problem", "x", "tuning", remedy=(SECOND, ACCOUNT))

    checks = (Check("planted", "tuning", lambda: CheckWords("x"), look),)
    # The command first: it is imported here, and must not find what is patched.
    monkeypatch.setattr("bai_wizard.commands.doctor.all_checks", lambda *_given: checks)
    monkeypatch.setattr("bai_wizard.doctor.run.all_checks", lambda *_given: checks)
    return older


def words(seat: Seat, run: RunDirectory, command: str) -> list[str]:
    return [{"ANSWERS": str(seat.answers), "RUN": run.id}.get(word, word) for word in COMMANDS[command]]


def session_of(seat: Seat) -> Session:
    arguments = Namespace(demo=None, answers=None, handed_over=None, root=str(seat.paths.root))
    return wizard._opening(arguments, lambda _told: None)[0]


@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reports_once_what_was_recovered(
    seat: Seat, interrupted: RunDirectory, command: str, json_lines: bool
) -> None:
    given = words(seat, interrupted, command) + (["--json"] if json_lines else [])
    assert seat.main(*given) == ExitCode.OK, seat.messages
    lines = [line for line in seat.messages if SAID in line and "recovered first" not in line]
    assert len(lines) == 1, seat.messages
    if json_lines:
        assert json.loads(lines[0])["kind"] == "log"
    assert not interrupted_runs(seat.paths)
    assert (seat.machine.state(USER) is not None) == (command != "undo")
    assert seat.main(*given) in (ExitCode.OK, ExitCode.PREFLIGHT)
    assert not any(SAID in line for line in seat.messages), "what was recovered is not told again"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_plan_describes_the_pending_recovery(seat: Seat, interrupted: RunDirectory, command: str) -> None:
    """`--plan` and the remedy that is shown are made over the node as it will be: the account is created again."""
    node, state = seat.machine.snapshot(), files(seat.paths.root)
    given = words(seat, interrupted, command)
    if command == "fix":  # has no --plan: it is refused without --yes, after it has shown the plan
        assert seat.main(*given[:-1]) == ExitCode.PREFLIGHT
    else:
        assert seat.main(*given, "--plan") == ExitCode.OK
    assert seat.machine.snapshot() == node
    assert files(seat.paths.root) == state
    seat.says(SAID)
    if command != "undo":
        assert any(line.startswith("[account]") and "new" in line for line in seat.messages), seat.messages


@pytest.mark.parametrize("way", ["begin", "begin_again", "begin_undo"])
def test_the_events_of_the_run_report_a_recovery_once(seat: Seat, interrupted: RunDirectory, way: str) -> None:
    """The screens show them."""
    session = session_of(seat)
    assert [line.partition("; ")[2] for line in session.to_recover()] == [SAID]
    plan = plan_of(session.foreseen(), (FIRST, SECOND, ACCOUNT))
    if way == "begin":
        run = session.begin(plan, desired_from_json(interrupted.settings()))
    elif way == "begin_again":
        session.begin_again(interrupted, plan)
        run = interrupted
    else:
        assert any(SAID in text for text in session.plan_undo(interrupted).recovered)
        run = session.begin_undo(interrupted)
    assert (run.result() or {}).get("code") == ExitCode.OK
    events = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert [event["kind"] for event in events if SAID in event.get("text", "")] == ["log"]
    assert not session.to_recover()
    assert (seat.machine.state(USER) is not None) == (way != "begin_undo")


def test_the_plan_of_an_undo_covers_every_interrupted_run(seat: Seat, interrupted: RunDirectory) -> None:
    wanted = plan_undo(interrupted, seat.machine)
    assert [SAID in text for text in wanted.recovered] == [True]
    assert [change.subject for _, change in wanted.changes] == ["/etc/first.conf"]


@pytest.mark.parametrize("way", ["begin", "begin_again", "begin_undo"])
def test_the_screens_begin_nothing_that_another_run_has_outdated(
    seat: Seat, interrupted: RunDirectory, way: str
) -> None:
    session = session_of(seat)
    planned_at = session.planned_at()
    plan = plan_of(session.foreseen(), (SECOND,))
    between = plan_of(seat.machine, (FIRST,))
    execute(seat.paths, create_run(seat.paths, between, {}), between.digest(), seat.machine)
    node, runs = seat.machine.snapshot(), len(all_runs(seat.paths))
    begin: dict[str, Any] = {
        "begin": lambda: session.begin(plan, desired_from_json(interrupted.settings()), (), planned_at),
        "begin_again": lambda: session.begin_again(interrupted, plan, (), planned_at),
        "begin_undo": lambda: session.begin_undo(interrupted, (), planned_at),
    }
    with pytest.raises(PlanOutdated):
        begin[way]()
    assert (seat.machine.snapshot(), len(all_runs(seat.paths))) == (node, runs)


def test_a_fix_begins_nothing_that_another_run_has_outdated(
    seat: Seat, interrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree = output.agree_to

    def meanwhile(*given: Any) -> Any:
        plan = plan_of(seat.machine, (FIRST,))
        execute(seat.paths, create_run(seat.paths, plan, {}), plan.digest(), seat.machine)
        return agree(*given)

    monkeypatch.setattr("bai_wizard.commands.doctor.agree_to", meanwhile)
    assert seat.main(*words(seat, interrupted, "fix")) == ExitCode.PREFLIGHT
    seat.says("another run has started in the meantime; nothing was changed. Run this command again")
    assert seat.has("second") is None


def test_a_fix_that_only_recovers_says_so(
    seat: Seat, interrupted: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half-made account is the problem, and the remedy over the recovered node is empty."""

    def look(machine: Machine, _context: Context) -> Finding:
        return Finding("planted", "problem", "x", "tuning", remedy=(FIRST,))

    check = Check("planted", "tuning", lambda: CheckWords("x"), look)
    monkeypatch.setattr("bai_wizard.commands.doctor.all_checks", lambda *_given: (check,))
    monkeypatch.setattr("bai_wizard.doctor.run.all_checks", lambda *_given: (check,))
    assert seat.main(*words(seat, interrupted, "fix")) == ExitCode.FAILED
    seat.says(SAID, "bai-wizard resume")
    assert interrupted_runs(seat.paths)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_changes_of_a_failed_operation_are_reported(seat: Seat, moment: str) -> None:
    """useradd fails after it has written the account, or before: only the first is more than its own message."""

    def fails(operation: Operation, now: str) -> None:
        if isinstance(operation, AddUser) and now == moment:
            raise StepFailed("useradd: cannot write /etc/shadow")

    seat.machine = SimulatedMachine(seat.machine.snapshot(), fault=fails)
    seat.wanted = (ACCOUNT,)
    assert seat.main("--headless", str(seat.answers)) == ExitCode.FAILED
    seat.says("useradd: cannot write /etc/shadow")
    result = [
        line for line in seat.messages if "account.user: new was incomplete when it failed; it was restored" in line
    ]
    assert len(result) == (moment == "after"), seat.messages
    assert not any("when the run was interrupted" in line for line in seat.messages)
    assert seat.machine.state(USER) is None
