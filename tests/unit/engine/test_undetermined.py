"""What cannot be determined is reported as such, never as "known after apply", and is not applied unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.errors import AccessDenied, KnownAfterApply, PreflightError, RebootNeeded, StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Offer, Operation, Scope
from bai_wizard.core.state import Hold, Key, Package, file_key, package_key
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.executor import Executor
from bai_wizard.engine.journal import Backups, Journal
from bai_wizard.engine.result import Result, nothing_done
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.resources.files import WriteFile
from bai_wizard.steps.accounts import then
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.packages import NoPackages, PackageLists, Packages
from bai_wizard.steps.services import Service
from bai_wizard.ui.plans import without_steps
from bai_wizard.ui.present import plan_lines
from tests.unit.engine.plans import STATES, plan_of

REASON = "Docker gave no answer within 3 s"
OTHER = DropIn(id="a.other", path="/etc/new.conf", text="a\n", why="x")


class Asking(Step, frozen=True, kw_only=True):
    """Writes a file, then asks, then writes another one."""

    kind: ClassVar[str] = "test-asking"
    raises: str = "cannot-tell"

    def describe(self) -> str:
        return "known after a reboot"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key("/etc/first"), file_key("/etc/second"))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield WriteFile("/etc/first", b"1")
        if self.raises:
            raise {
                "cannot-tell": StateUnknown(REASON),
                "later": KnownAfterApply("a.other"),
                "reboot": RebootNeeded("the module is in use"),
            }[self.raises]
        yield WriteFile("/etc/second", b"2")


def run_plan(root: Path, machine: SimulatedMachine, plan: Plan) -> Result:
    event_log = EventLog(root / "events.jsonl", "test")
    return Executor(machine, Journal(root / "journal.jsonl", Backups(root)), event_log).run(plan)


def test_it_is_blocked_and_never_presented_as_known_later() -> None:
    plan = plan_of(SimulatedMachine(STATES), (OTHER, Asking(id="a.asking")))
    verdict = plan.steps[1].verdict
    assert verdict == Blocked(REASON, undetermined=True)
    text = "\n".join(plan_lines(plan))
    assert f"Cannot be determined: {REASON}" in text
    assert "will be known after" not in text
    assert plan.undetermined() == plan.blocked() == plan.steps[1:]
    assert plan.refused() == ()


def test_deferred_effects_are_fields_and_not_texts() -> None:
    later, reboot = (
        plan_of(SimulatedMachine(STATES), (Asking(id="a.asking", raises=raises),)).steps[0].verdict
        for raises in ("later", "reboot")
    )
    assert isinstance(later, Pending)
    assert isinstance(reboot, Pending)
    assert (later.known_after, later.after_reboot, later.is_partial) == ("a.other", False, True)
    assert (reboot.known_after, reboot.after_reboot, reboot.is_partial) == ("", True, True)


def test_the_plan_is_refused_in_preflight_and_can_be_shown() -> None:
    plan = plan_of(SimulatedMachine(STATES), (OTHER, Asking(id="a.asking")))
    with pytest.raises(PreflightError, match=f"a.asking: cannot be determined: {REASON}"):
        compose.refuse_blocked(plan)
    compose.refuse_blocked(plan, to_show=True)


def test_an_optional_step_fails_alone(tmp_path: Path) -> None:
    machine = SimulatedMachine(STATES)
    plan = plan_of(machine, (Asking(id="a.asking", optional=True), OTHER))
    compose.refuse_blocked(plan)
    result = run_plan(tmp_path, machine, plan)
    assert result.code() is ExitCode.OPTIONAL_FAILED
    assert result.steps[0].text == f"cannot be determined: {REASON}"
    assert machine.entry("/etc/first") is None
    assert machine.entry("/etc/new.conf") is not None
    alone = plan_of(machine, (Asking(id="a.asking", optional=True),))
    assert nothing_done(alone).code() is ExitCode.OPTIONAL_FAILED


def test_blocked_changes_are_not_predicted(tmp_path: Path) -> None:
    """Later steps are planned without it, so that they are not taken for changed since the review."""
    machine = SimulatedMachine(STATES)
    again = DropIn(id="a.again", path="/etc/first", text="2\n", why="x")
    plan = plan_of(machine, (Asking(id="a.asking", optional=True), again))
    verdict = plan.steps[1].verdict
    assert isinstance(verdict, Pending)
    assert verdict.changes[0].verb == "create"
    assert run_plan(tmp_path, machine, plan).code() is ExitCode.OPTIONAL_FAILED
    assert machine.text("/etc/first") == "2\n"


def test_a_node_that_falls_silent_after_review_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimulatedMachine(STATES)
    step = Asking(id="a.asking", raises="")
    plan = plan_of(machine, (step,))
    assert isinstance(plan.steps[0].verdict, Pending)
    monkeypatch.setattr(Asking, "operations", _silent)
    result = run_plan(tmp_path, machine, plan)
    assert result.code() is ExitCode.FAILED
    assert result.steps[0].text == f"cannot be determined: {REASON}"
    assert machine.performed == []


def _silent(_step: Step, _view: NodeView) -> Iterator[Operation]:
    yield WriteFile("/etc/first", b"1")
    raise StateUnknown(REASON)


def test_leaving_it_out_makes_the_rest_applicable() -> None:
    machine = SimulatedMachine(STATES)
    plan = plan_of(machine, (OTHER, Asking(id="a.asking")))
    compose.refuse_blocked(without_steps(plan, {"a.asking"}, machine))


BROUGHT = ("unit:x.service", "group:x")
STEPS = (
    PackageLists(id="x.lists", packages=("x",)),
    Packages(id="x.install", names=("x",), why="the engine", brings=BROUGHT),
    Service(id="x.service", unit="x.service"),
)


def test_what_depends_on_an_unreadable_cause_does_not_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """apt answers nothing: neither "the unit does not exist" nor "known after" is true."""
    machine = SimulatedMachine(STATES)
    monkeypatch.setattr(machine, "candidate", _no_candidate)
    plan = plan_of(machine, STEPS)
    lists, *others = (item.verdict for item in plan.steps)
    assert lists == Blocked(REASON, undetermined=True)
    assert [(item.undetermined, item.depends_on) for item in others if isinstance(item, Blocked)] == [
        (True, "x.lists"),
        (True, "x.install"),
    ]
    with pytest.raises(PreflightError) as caught:
        compose.refuse_blocked(plan)
    assert str(caught.value) == (
        f"nothing was changed:\n  x.lists: cannot be determined: {REASON}\n"
        "  not possible without that: x.install, x.service"
    )
    text = "\n".join(plan_lines(plan))
    assert "does not exist" not in text
    assert "known after" not in text
    assert Plan.from_json(plan.to_json()) == plan


def _no_candidate(package: str) -> str | None:
    raise StateUnknown(REASON)


def test_an_optional_cause_does_not_block_what_follows() -> None:
    plan = plan_of(SimulatedMachine(STATES), (replace(STEPS[1], optional=True), STEPS[2]))
    service = plan.steps[1].verdict
    assert isinstance(service, Blocked)
    assert (service.depends_on, service.reason) == ("", "x.service does not exist on this node")


@pytest.mark.parametrize("is_denied", [True, False])
def test_only_a_lack_of_permission_is_known_once_the_owner_is_changed(is_denied: bool) -> None:
    reason = AccessDenied("/home/x: permission denied") if is_denied else StateUnknown("/home/x: no response")

    def rest() -> Iterator[Operation]:
        raise reason
        yield

    with pytest.raises(KnownAfterApply if is_denied else StateUnknown):
        list(then("a.step", iter([WriteFile("/x", b"")]), rest))


@pytest.mark.parametrize("is_root, code", [(True, ExitCode.PREFLIGHT), (False, ExitCode.CHANGES)])
def test_the_exit_codes_differ(
    is_root: bool, code: ExitCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root would be refused when applying; another user may only be unable to read it."""
    from bai_wizard import cli

    answers = tmp_path / "a.toml"
    answers.write_text('version = 1\n[account]\nsudo = "no"\n')
    machine = SimulatedMachine({}, Environment(is_root=is_root))
    plan = plan_of(SimulatedMachine(STATES), (OTHER, Asking(id="a.asking")))
    monkeypatch.setattr(compose, "plan", lambda *_: plan)
    monkeypatch.setattr("bai_wizard.commands.headless.machine_for", lambda _: machine)
    assert cli.main(["--headless", str(answers), "--plan", "--detailed-exitcode", "--demo"]) == code


@pytest.mark.parametrize(
    "step",
    [NoPackages(id="x.gone", names=("x",), why="y"), Packages(id="x.other", names=("x",), versions=("2",), why="y")],
    ids=["remove", "change"],
)
def test_held_packages_are_refused_with_the_command_that_releases_them(step: Step) -> None:
    machine = SimulatedMachine({package_key("x"): Package("1", held=True)})
    verdict = plan_of(machine, (step,)).steps[0].verdict
    assert isinstance(verdict, Blocked)
    assert not verdict.undetermined
    assert "apt-mark unhold x" in verdict.reason
    machine.set_state(package_key("x"), Package("1"))
    assert isinstance(plan_of(machine, (step,)).steps[0].verdict, Pending)


def test_a_hold_on_a_package_that_is_not_installed_is_refused_as_well() -> None:
    """apt-get --yes refuses to install it."""
    offers = Environment(offers={"x": Offer("1")})
    step = Packages(id="x.new", names=("x",), why="y")
    held = plan_of(SimulatedMachine({Key("hold", "x"): Hold()}, offers), (step,)).steps[0].verdict
    assert isinstance(held, Blocked)
    assert "apt-mark unhold x" in held.reason
    assert isinstance(plan_of(SimulatedMachine({}, offers), (step,)).steps[0].verdict, Pending)


def test_a_step_that_is_blocked_for_a_known_reason_is_determined() -> None:
    steps = (
        PlannedStep(OTHER, Blocked("it is impossible here")),
        PlannedStep(replace(OTHER, id="a.second"), Blocked(REASON, undetermined=True)),
    )
    assert [planned.step.id for planned in Plan("test", steps).undetermined()] == ["a.second"]
    assert len(Plan("test", steps).blocked()) == 2
