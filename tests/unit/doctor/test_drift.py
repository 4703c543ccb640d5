"""The doctor compares the node with the answers: every change or refusal of their plan is a finding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.answers.load import load
from bai_wizard.compose import DesiredState
from bai_wizard.core.page import Context, Evidence, Finding, Unsupported
from bai_wizard.core.state import Account, Key, State, Sysctl, file_key
from bai_wizard.core.step import Blocked, Pending, depends_on
from bai_wizard.doctor.drift import drift_checks, outcome_of, plan_steps, resolve_scope, without_covered
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.lock import StatePaths
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import ORDER
from bai_wizard.pages.check import check_texts, finding
from bai_wizard.pages.images.steps import Pull, PulledImages
from bai_wizard.steps import load_all
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.kernel import LiveSysctl
from tests.sampling import sampled

ANSWERS = """\
version = 1
[node]
backend_ai = "26.4"
[account]
sudo = "nopasswd"
authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6eH3Hh4mQw0JX2bG5o0h3u7Yk1Zk3bq9o6m1mYyqSg ops@example"]
[tuning]
[aliases]
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"] } ]
[docker]
[storage]
volumes = [ { name = "local", type = "local" } ]
"""
BAD = ("problem", "warning")


def desired(tmp_path: Path, host: str, text: str = ANSWERS) -> DesiredState:
    (tmp_path / "answers.toml").write_text(text)
    return compose.desired_from_answers(load(str(tmp_path / "answers.toml"), host), demo=True)


def findings(machine: SimulatedMachine, wanted: DesiredState | None) -> dict[str, Finding]:
    context = wanted.context if wanted else Context(host=machine.host, demo=True)
    return {each.id: each for each in examine(all_checks(wanted), machine, context)}


@pytest.fixture
def applied(tmp_path: Path) -> tuple[SimulatedMachine, DesiredState]:
    """A node with nothing left to do, and its answers."""
    from tests.pages.storage.lifecycle import run

    load_all()
    machine = demo_machine("bare", delay=0)
    wanted = desired(tmp_path, machine.host)
    for _ in range(3):
        plan = compose.plan(machine, wanted)
        assert not plan.blocked(), plan.blocked()
        if plan.is_empty():
            return machine, wanted
        run(machine, plan, tmp_path)
    raise AssertionError([planned.step.id for planned in compose.plan(machine, wanted).pending()])


def test_a_converged_node_has_none(applied: tuple[SimulatedMachine, DesiredState]) -> None:
    by_id = findings(*applied)
    assert [by_id[f"{page}.drift"].result for page in applied[1].pages] == ["ok"] * len(applied[1].pages)
    left_out = [page for page in ORDER if page not in applied[1].pages]
    assert {by_id[f"{page}.drift"].result for page in left_out} == {"not-applicable"}


@pytest.mark.parametrize("name", ["bare", "half", "broken"])
def test_everything_that_the_plan_changes_or_refuses_is_found(tmp_path: Path, name: str) -> None:
    load_all()
    machine = demo_machine(name, delay=0)
    wanted = desired(tmp_path, machine.host)
    plan = compose.plan(machine, wanted)
    assert plan.pending() or plan.blocked()
    by_id = findings(machine, wanted)
    for planned in plan.steps:
        drift = by_id[f"{planned.step.page}.drift"]
        if isinstance(planned.verdict, Blocked):
            named = {planned.step.id}
        elif isinstance(planned.verdict, Pending):
            named = {change.key.name if change.key else planned.step.id for change in planned.verdict.changes}
        else:
            continue
        lines = {each.where for each in drift.evidence}
        by_remedy = {step.id for each in by_id.values() if each.result in BAD for step in each.remedy}
        assert named <= lines or planned.step.id in by_remedy or drift.suppressed_by, planned.step.id


def changed(machine: SimulatedMachine, changes: Mapping[Key, State | None]) -> SimulatedMachine:
    states = {**machine.snapshot(), **changes}
    kept = {key: state for key, state in states.items() if state is not None}
    return SimulatedMachine(kept, machine.environment)


def test_any_state_that_is_gone_is_seen_by_plan_and_doctor_alike(
    applied: tuple[SimulatedMachine, DesiredState],
) -> None:
    """Single states that the run made or changed, taken away again; all of them in a soak."""
    machine, wanted = applied
    bare = demo_machine("bare", delay=0).snapshot()
    made = [key for key, state in machine.snapshot().items() if bare.get(key) != state]
    assert len(made) > 20
    seen = 0
    for key in sampled("states that are gone", made, 20):
        drifted = changed(machine, {key: bare.get(key)})
        plan = compose.plan(drifted, wanted)
        if plan.is_empty() and not plan.blocked():
            continue
        seen += 1
        findings = {each.id: each for each in examine(drift_checks(wanted), drifted, wanted.context)}
        # What only waits for another blocked step is unknown: no difference of its own, and not confirmed either.
        waiting = {planned.step.page for planned in plan.blocked() if depends_on(planned)}
        causes = [planned for planned in plan.blocked() if not depends_on(planned)]
        pages = {planned.step.page for planned in (*plan.pending(), *causes)}
        assert {page for page in ORDER if findings[f"{page}.drift"].result in BAD} == pages, key
        assert {findings[f"{page}.drift"].result for page in waiting - pages} <= {"cannot-tell"}, key
    assert seen > 5


def test_without_answers_there_is_no_drift(tmp_path: Path) -> None:
    machine = demo_machine("bare", delay=0)
    by_id = findings(machine, None)
    assert {by_id[f"{page}.drift"].result for page in ORDER} == {"not-applicable"}


def test_a_change_fixed_by_another_finding_is_reported_once(
    applied: tuple[SimulatedMachine, DesiredState],
) -> None:
    machine, wanted = applied
    by_id = findings(changed(machine, {Key("sysctl", "net.ipv4.tcp_fin_timeout"): Sysctl("60")}), wanted)
    assert by_id["tuning.live"].result in BAD
    assert by_id["tuning.drift"].suppressed_by == "tuning.live"
    assert not by_id["tuning.drift"].evidence


def test_a_finding_that_only_mentions_things_hides_no_difference(
    applied: tuple[SimulatedMachine, DesiredState],
) -> None:
    """Whatever its texts name, also together with a remedy for the same thing that leaves the difference in place."""
    machine, wanted = applied
    bare = demo_machine("bare", delay=0).snapshot()
    made = [key for key, state in machine.snapshot().items() if bare.get(key) != state]
    seen = 0
    for key in sampled("differences that are mentioned", made, 12):
        drifted = changed(machine, {key: bare.get(key)})
        findings = examine(drift_checks(wanted), drifted, wanted.context)
        drifts = [each for each in findings if each.result in BAD]
        seen += len(drifts)
        names = {str(key), key.name, *(word for each in drifts for piece in each.evidence
                                       for word in (piece.what, piece.where, piece.found))}  # fmt: skip
        other = Finding(
            "other",
            "problem",
            "something else",
            "storage",
            tuple(Evidence(name, name, "", "") for name in names),
            remedy=tuple(DropIn(id=name, path="/etc/other", text="x", why="") for name in names),
        )
        assert without_covered([other, *findings], drifted) == [other, *findings], key
    assert seen


def test_another_change_of_the_same_thing_does_not_explain_a_difference(
    applied: tuple[SimulatedMachine, DesiredState],
) -> None:
    machine, wanted = applied
    key = Key("sysctl", "net.ipv4.tcp_fin_timeout")
    drifted = changed(machine, {key: Sysctl("60")})
    (drift,) = [each for each in examine(drift_checks(wanted), drifted, wanted.context) if each.result in BAD]

    def explained(value: str) -> str:
        step = LiveSysctl(id="other", key=key.name, value=value, least=value)
        other = Finding("other", "problem", "other", "tuning", remedy=(step,))
        return without_covered([other, drift], drifted)[1].suppressed_by

    assert explained("10") == "other"
    assert explained("30") == ""


def test_a_stopped_engine_explains_only_its_dependents() -> None:
    machine = demo_machine("bare", delay=0)
    steps = (
        Unsupported(id="images.room", title="room", reason="none"),
        PulledImages(id="images.pull", images=(Pull("cr.backend.ai/stable/python:3.13"),), platform="linux/amd64"),
    )
    plan = plan_steps(steps, machine, machine.host)
    off = Finding("docker.not-running", "problem", "off", "docker")
    drift = finding(check_texts()["images.drift"], outcome_of("images", plan.steps, machine, ()))
    assert [each.where for each in drift.evidence] == ["cr.backend.ai/stable/python:3.13", "images.room"]
    left = without_covered([off, drift], machine)[1]
    assert [each.where for each in left.evidence] == ["images.room"]


def test_the_identity_of_a_difference_is_not_shown(applied: tuple[SimulatedMachine, DesiredState]) -> None:
    machine, wanted = applied
    by_id = findings(changed(machine, {file_key("/etc/hosts"): None}), wanted)
    pieces = [piece for each in by_id.values() for piece in each.to_json()["evidence"]]
    assert pieces
    assert all(set(piece) == {"what", "where", "found", "expected"} for piece in pieces)
    (drift,) = [each for each in by_id.values() if each.id == "aliases.drift"]
    assert all(each.about for each in drift.evidence)
    assert Finding.from_wire(json.loads(json.dumps(drift.to_wire()))).evidence == drift.evidence


def test_the_fix_is_to_apply_the_page(applied: tuple[SimulatedMachine, DesiredState], tmp_path: Path) -> None:
    from tests.pages.storage.lifecycle import run

    machine, wanted = applied
    keys = file_key("/home/bai/.ssh/authorized_keys")
    drifted = changed(machine, {keys: None})
    drift = findings(drifted, wanted)["account.drift"]
    assert drift.result == "problem"
    assert [each.where for each in drift.evidence] == [keys.name]
    run(drifted, plan_steps(drift.remedy, drifted, drifted.host), tmp_path)
    assert drifted.entry(keys.name) == machine.entry(keys.name)
    assert findings(drifted, wanted)["account.drift"].result == "ok"


def test_blocked_steps_have_a_reason_and_no_fix(applied: tuple[SimulatedMachine, DesiredState]) -> None:
    machine, wanted = applied
    bai = machine.account("bai")
    assert isinstance(bai, Account)
    drift = findings(changed(machine, {Key("user", "bai"): replace(bai, shell="/bin/zsh")}), wanted)["account.drift"]
    assert drift.result == "problem"
    assert "shell" in drift.evidence[0].found
    assert not drift.remedy


@pytest.mark.parametrize("undone", [True, False])
def test_an_undone_run_is_not_compared_with(tmp_path: Path, undone: bool) -> None:
    machine = demo_machine("bare", delay=0)
    wanted = replace(desired(tmp_path, machine.host), context=Context(host=machine.host))
    paths = StatePaths(tmp_path / "root")
    plan = compose.plan(machine, wanted)
    run = create_run(paths, plan, wanted.to_json())
    run.journal.touch()
    if undone:
        create_run(paths, plan, wanted.to_json(), kind="undo", undoes=run.id).journal.touch()
    about = resolve_scope(machine, paths, None, ())
    assert bool(about.desired.pages) is not undone


def test_an_image_archive_that_is_gone_is_unknown() -> None:
    """It was needed to load its images only; a full disk, for example, stays a problem."""
    machine = demo_machine("finished", delay=0)
    for is_gone, result in ((True, "cannot-tell"), (False, "problem")):
        step = Unsupported(id="images.archives.1", title="load", reason="no such file", source_is_gone=is_gone)
        plan = plan_steps([step], machine, machine.host)
        assert finding(check_texts()["images.drift"], outcome_of("images", plan.steps, machine, ())).result == result
