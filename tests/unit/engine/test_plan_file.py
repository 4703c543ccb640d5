"""Plan files: applied exactly as they were approved, or refused with the difference; no secret is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.cli import main
from bai_wizard.core.operation import Change
from bai_wizard.core.state import Entry, Key
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep, Step, StepStatus, Unchanged
from bai_wizard.engine.directory import all_runs
from bai_wizard.engine.plan_file import make_plan_file, read_plan_file, with_less, with_secrets
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import Environment, SimulatedMachine
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.present import exact_differences
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_plans_change_nothing import ACCOUNT
from tests.unit.engine.test_run_selection import AGAIN, FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

CHANGE = Change("a", "modify", "1", "2", key=Key("sysctl", "a"))
OTHER = replace(CHANGE, subject="b", key=Key("sysctl", "b"))
IN_SCOPE = Change("/etc/first.conf", "create", None, "x", key=Key("file", "/etc/first.conf"))
HASH = "$6$saltsalt$" + "a" * 86
LOGIN = "http://me:hunter22@proxy.corp:3128"


def written(seat: Seat, *steps: Step, words: tuple[str, ...] = ()) -> Path:
    seat.wanted = steps
    file = seat.paths.root / "plan.json"
    assert seat.main("--headless", str(seat.answers), "--plan", "-o", str(file), *words) == ExitCode.OK, seat.messages
    return file


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_an_approved_plan_is_applied_and_its_origin_is_recorded(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(seat, FIRST, SECOND)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    seat.says(f"{digest}  {file}")
    assert (seat.has("first"), all_runs(seat.paths)) == (None, []), "--plan -o changes nothing"
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_USER", "alice")
    report = seat.paths.root / "report.json"
    words = ("--digest", digest, "--approved-by", "J. Kim", "--ticket", "CHG-1", "--report", str(report))
    assert seat.main("apply", str(file), *words) == ExitCode.OK, seat.messages
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", "b = 1\n")
    (run,) = all_runs(seat.paths)
    about = run.metadata
    assert about["actor"]["sudo_user"] == "alice"
    approval = about["approval"]
    assert approval == {
        "plan_file": digest,
        "planned": json.loads(file.read_text())["planned"],
        "planned_by": {"uid": 0, "sudo_user": "", "loginuid": about["actor"]["loginuid"]},
        "approved_by": "J. Kim",
        "ticket": "CHG-1",
        "signed_by": "",
    }
    assert json.loads(report.read_text())["approval"] == approval
    assert seat.main("runs", "--json") == ExitCode.OK
    (line,) = seat.messages
    assert {name: json.loads(line)[name] for name in ("actor", "answers_digest", "approval")} == {
        name: about[name] for name in ("actor", "answers_digest", "approval")
    }


def test_a_run_without_a_plan_file_has_an_actor_and_no_approval(seat: Seat) -> None:
    about = seat.apply(FIRST).metadata
    assert "approval" not in about
    assert about["actor"]["uid"] == 0
    assert len(about["answers_digest"]) == 64


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((FIRST, AGAIN), "a = 2"),
        ((AGAIN,), "+a = 2"),
        ((FIRST, SECOND, DropIn(id="tuning.third", path="/etc/third.conf", text="c\n", why="x")), "tuning.third"),
        ((FIRST,), "-/etc/second.conf"),
        ((SECOND, FIRST), "another order"),
        ((replace(FIRST, optional=True), SECOND), "defined differently"),
        ((), "tuning.first"),
    ],
    ids=["other", "changed", "added", "missing", "order", "definition", "empty"],
)
def test_another_plan_is_refused_with_the_difference(seat: Seat, steps: tuple[Step, ...], text: str) -> None:
    file = written(seat, FIRST, SECOND)
    seat.wanted = steps
    before = seat.machine.snapshot()
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("nothing was changed", text)
    assert seat.machine.snapshot() == before
    assert all_runs(seat.paths) == []


def test_a_node_that_has_changed_since_is_refused(seat: Seat) -> None:
    file = written(seat, FIRST)
    seat.put("/etc/first.conf", Entry("file", 0, 0, 0o644, b"theirs\n"))
    before = seat.machine.snapshot()
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("theirs")
    assert seat.machine.snapshot() == before


def test_a_plan_that_was_applied_is_not_applied_again(seat: Seat) -> None:
    file = written(seat, FIRST)
    assert seat.main("apply", str(file)) == ExitCode.OK
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("tuning.first", "no changes needed")
    assert len(all_runs(seat.paths)) == 1


def test_an_empty_plan_is_applied_without_a_run(seat: Seat) -> None:
    file = written(seat)
    assert seat.main("apply", str(file)) == ExitCode.OK
    assert all_runs(seat.paths) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"machine": {"machine": "f" * 32, "release": "debian 12"}}, "the plan is for"),
        ({"format": "other"}, "is not a plan file"),
        ({"version": 2}, "is not a plan file"),
        ({"settings": []}, "is not a plan file"),
        ({"planned_by": {"uid": [0]}}, "is not a plan file"),
        ({"withheld": {'["host"]': "scrypt"}}, "is not a plan file"),
        ({"withheld": {"host": "scrypt:" + "A" * 22 + "==:" + "A" * 43 + "="}}, "is not a plan file"),
        ({"plan": {"version": 99}}, "cannot be read by this version"),
        ({"plan": {}}, "cannot be read by this version"),
        ({"settings": {"version": 1, "host": "gpu01", "pages": ["tuning"], "tables": {}}}, "cannot be read"),
    ],
)
def test_a_file_that_is_no_plan_of_this_node_is_refused(seat: Seat, values: dict[str, Any], text: str) -> None:
    file = written(seat, FIRST)
    changed(file, **values)
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says(text)
    assert seat.has("first") is None


def test_another_digest_and_a_file_that_others_can_change_are_refused(seat: Seat) -> None:
    file = written(seat, FIRST)
    assert seat.main("apply", str(file), "--digest", "0" * 64) == ExitCode.PREFLIGHT
    seat.says(hashlib.sha256(file.read_bytes()).hexdigest())
    file.chmod(0o666)
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("chmod")
    file.chmod(0o600)
    file.write_text("{")
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    assert seat.has("first") is None


def test_a_blocked_plan_and_a_run_are_not_written(seat: Seat) -> None:
    seat.machine = SimulatedMachine(STATES, Environment(is_root=False))
    file = seat.paths.root / "plan.json"
    assert seat.main("--headless", str(seat.answers), "-o", str(file)) == ExitCode.ANSWERS
    seat.says("add --plan")
    assert not file.exists()


def test_secrets_in_the_answers_are_withheld_and_verified(seat: Seat) -> None:
    text = f'version = 1\n[account]\npassword_hash = "{HASH}"\n[network]\nproxy = {{ http = "{LOGIN}" }}\n'
    seat.answers.write_text(text)
    file = written(seat, FIRST)
    assert "hunter22" not in file.read_text()
    assert HASH not in file.read_text()
    assert seat.main("apply", str(file)) == ExitCode.OK, seat.messages
    settings = all_runs(seat.paths)[-1].settings()["tables"]
    assert (settings["account"]["password_hash"], settings["network"]["proxy"]["http"]) == (HASH, LOGIN)


def test_a_withheld_secret_that_has_changed_is_refused(seat: Seat) -> None:
    seat.answers.write_text(f'version = 1\n[network]\nproxy = {{ http = "{LOGIN}" }}\n')
    file = written(seat, FIRST)
    other = seat.paths.root / "other.toml"
    other.write_text(seat.answers.read_text())
    seat.answers.write_text(seat.answers.read_text().replace("hunter22", "hunter23"))
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("no longer have the values of the plan: network.proxy.http")
    assert seat.main("apply", str(file), "--answers", str(other)) == ExitCode.OK


def test_an_answers_file_that_changed_otherwise_does_not_matter(seat: Seat) -> None:
    """The settings are in the plan file; what the answers say now is for the next plan."""
    file = written(seat, FIRST)
    seat.answers.write_text("version = 1\n[docker]\n")
    assert seat.main("apply", str(file)) == ExitCode.OK
    assert all_runs(seat.paths)[-1].settings()["pages"] == ["tuning"]


def test_what_is_withheld_is_put_back_where_it_was(tmp_path: Path) -> None:
    machine = SimulatedMachine(STATES)
    settings = {"tables": {"a": {"list": ["x", {"url": LOGIN}], "n": 1, "on": True}}}
    data, digest = make_plan_file(plan_of(machine, (FIRST,)), settings, machine, "")
    (tmp_path / "plan.json").write_bytes(data)
    file = read_plan_file(str(tmp_path / "plan.json"), digest)
    assert b"hunter22" not in data
    assert with_secrets(file.settings, file.withheld, settings) == settings


def test_a_password_that_is_hashed_again_for_each_plan_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_text("correct horse battery\n")
    (tmp_path / "a.toml").write_text(f'version = 1\n[account]\npassword = {{ file = "{tmp_path}/password" }}\n')
    assert main(["--headless", "a.toml", "--demo", "--plan", "-o", "plan.json"]) == ExitCode.OK
    assert '"account.password"' in (tmp_path / "plan.json").read_text()
    assert main(["apply", "plan.json", "--demo"]) == ExitCode.OK, capsys.readouterr().err


def test_a_plan_does_not_differ_from_itself() -> None:
    plan = plan_of(SimulatedMachine(STATES), (FIRST, SECOND))
    assert exact_differences(plan, plan) == []


def test_a_plan_for_a_simulated_node_is_refused_on_a_real_one(seat: Seat) -> None:
    file = written(seat, FIRST)
    changed(file, settings={**json.loads(file.read_text())["settings"], "demo": True})
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    seat.says("the plan is for a simulated node")


def test_a_refused_plan_recovers_nothing(seat: Seat) -> None:
    seat.apply(ACCOUNT, cut=6)
    file = written(seat, FIRST)
    seat.wanted = (SECOND,)
    before = seat.machine.snapshot()
    assert Key("user", "new") in before
    assert seat.main("apply", str(file)) == ExitCode.PREFLIGHT
    assert seat.machine.snapshot() == before
    seat.wanted = (FIRST,)
    assert seat.main("apply", str(file)) == ExitCode.OK, seat.messages
    assert seat.machine.state(Key("user", "new")) is None


def test_another_attempt_applies_no_more_than_was_approved(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    file = written(seat, FIRST)
    seat.cut = 1
    assert seat.main("apply", str(file)) == ExitCode.FAILED
    seat.cut, seat.wanted = None, (FIRST, SECOND)
    monkeypatch.setenv("SUDO_USER", "bob")
    monkeypatch.setenv("SUDO_UID", "1001")
    assert seat.main("resume") == ExitCode.PREFLIGHT
    seat.says("another plan has to be approved", SECOND.id)
    seat.wanted = (FIRST,)
    assert seat.main("resume") == ExitCode.OK, seat.messages
    about = all_runs(seat.paths)[-1].metadata
    assert (about["actor"]["sudo_user"], about["resumed_by"]["sudo_user"]) == ("", "bob")


def test_another_attempt_makes_no_other_changes(seat: Seat) -> None:
    """The steps have the same IDs, but the node has changed since, or another version plans other changes."""
    file = written(seat, FIRST, SECOND)
    seat.cut = 1
    assert seat.main("apply", str(file)) == ExitCode.FAILED
    seat.cut, seat.wanted = None, (AGAIN, SECOND)
    assert seat.main("resume") == ExitCode.PREFLIGHT
    seat.says("another plan has to be approved", "+a = 2")
    assert (seat.has("first"), seat.has("second")) == (None, None)
    seat.wanted = (FIRST, SECOND)
    assert seat.main("resume") == ExitCode.OK, seat.messages


@pytest.mark.parametrize(
    ("was", "will", "is_covered"),
    [
        (Pending((CHANGE, OTHER)), Pending((OTHER,)), True),
        (Pending((CHANGE,)), Unchanged(), True),
        (Pending((CHANGE,)), Blocked("x"), True),
        (Pending((CHANGE,)), Pending((CHANGE, OTHER)), False),
        (Pending((CHANGE,)), Pending((), known_after="a.b"), False),
        (Pending((CHANGE,), known_after="a.b"), Pending((CHANGE, IN_SCOPE)), True),
        (Pending((CHANGE,), known_after="a.b"), Pending((CHANGE, OTHER)), False),
        (Pending((CHANGE,), known_after="a.b"), Pending((CHANGE,), after_reboot=True), True),
        (Unchanged(), Pending((CHANGE,)), False),
        (Blocked("x"), Pending((CHANGE,)), False),
    ],
)
def test_an_approved_step_covers_its_changes_and_the_rest_of_its_scope_if_it_was_open(
    was: StepStatus, will: StepStatus, *, is_covered: bool
) -> None:
    """The definition of a step may depend on what is done already."""
    approved = Plan("gpu01", (PlannedStep(FIRST, was),))
    now = Plan("gpu01", (PlannedStep(replace(FIRST, why="y"), will),))
    assert (exact_differences(with_less(approved, now), now) == []) is is_covered


def test_what_is_done_of_an_approved_plan_needs_no_other_approval(seat: Seat) -> None:
    file = written(seat, FIRST, SECOND)
    seat.machine.fault = fail_on("file:/etc/second.conf", "no space")
    assert seat.main("apply", str(file)) == ExitCode.FAILED
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", None)
    seat.machine.fault = None
    assert seat.main("resume") == ExitCode.OK, seat.messages
    assert seat.has("second") == "b = 1\n"
