"""Which run `undo` and `resume` select without an ID, and what `runs` reports about each."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bai_wizard import compose
from bai_wizard.cli import main
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.state import Entry, Key, State, Unit
from bai_wizard.core.step import Step
from bai_wizard.engine.choose import capped, held_by
from bai_wizard.engine.directory import RunDirectory, all_runs, create_run, find_run, journal_of
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.run_as import Identity, run_as
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.units import RestartUnit
from bai_wizard.session import Session
from bai_wizard.steps.files import DropIn
from bai_wizard.ui.text import output
from tests.faults import fail_on
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_run import PowerCut, cut_at

pytestmark = pytest.mark.needs_root

FIRST = DropIn(id="tuning.first", path="/etc/first.conf", text="a = 1\n", why="tuning")
SECOND = DropIn(id="tuning.second", path="/etc/second.conf", text="b = 1\n", why="tuning")
AGAIN = DropIn(id="tuning.first", path="/etc/first.conf", text="a = 2\n", why="tuning")


@dataclass
class Seat:
    """A simulated node and the commands on it; executors run within `start`."""

    paths: StatePaths
    answers: Path
    capsys: pytest.CaptureFixture[str]
    machine: SimulatedMachine
    wanted: Sequence[Step] = ()
    cut: int | None = None
    messages: list[str] = field(default_factory=list)

    def start(self, run: RunDirectory, digest: str, paths: StatePaths) -> None:
        checkpoint = (lambda _name: None) if self.cut is None else cut_at(self.cut)
        with suppress(PowerCut):
            execute(paths, run, digest, self.machine, checkpoint=checkpoint)

    def apply(self, *steps: Step, cut: int | None = None) -> RunDirectory:
        """A run of these steps; `cut`: its power goes at that instant."""
        self.wanted, self.cut = steps, cut
        code = self.main("--headless", str(self.answers))
        self.cut = None
        assert code == (ExitCode.OK if cut is None else ExitCode.FAILED), self.messages
        return all_runs(self.paths)[-1]

    def main(self, *words: str) -> int:
        code = main([*words, "--root", str(self.paths.root)])
        self.messages = [line for text in self.capsys.readouterr() for line in text.splitlines()]
        return code

    def says(self, *texts: str) -> None:
        for text in texts:
            assert any(text in line for line in self.messages), f"{text!r} is not in {self.messages}"

    def has(self, name: str) -> str | None:
        state = self.machine.state(Key("file", f"/etc/{name}.conf"))
        return state.text() if isinstance(state, Entry) else None

    def put(self, path: str, state: State | None) -> None:
        states = self.machine.snapshot()
        states.pop(Key("file", path), None)
        self.machine = SimulatedMachine({**states, **({Key("file", path): state} if state is not None else {})})


@pytest.fixture
def seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Seat:
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[tuning]\n")
    seat = Seat(StatePaths(tmp_path), answers, capsys, SimulatedMachine(STATES))
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(compose, "local_machine", lambda _root: seat.machine)
    monkeypatch.setattr(compose, "plan", lambda view, _desired: plan_of(view, tuple(seat.wanted)))
    monkeypatch.setattr("bai_wizard.engine.launch.start_executor", seat.start)
    return seat


def test_undo_goes_back_run_by_run_below_a_newer_one_too(seat: Seat) -> None:
    """An interrupted run, a plain run, undo, undo: both are undone, and each undo says which run it takes."""
    before = seat.machine.snapshot()
    cut = seat.apply(FIRST, cut=3)
    plain = seat.apply(SECOND)
    assert seat.main("undo", "--plan") == ExitCode.OK
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {plain.id} (done), the newest that holds changes (holds 1 change)")
    seat.says(
        f"run {cut.id}, which is older (interrupted), holds 1 change; to undo it as well: bai-wizard undo {cut.id}"
    )
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", None)
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {cut.id} (interrupted)", f"skipped run {plain.id}, which is newer: undone")
    assert seat.machine.snapshot() == before
    made = len(all_runs(seat.paths))
    assert seat.main("undo") == ExitCode.OK
    seat.says("nothing is left to undo", f"run {plain.id}: undone", f"run {cut.id}: undone")
    assert not any("0 changes" in line for line in seat.messages)
    assert len(all_runs(seat.paths)) == made, "an undo of nothing is no run"


def test_an_interrupted_run_is_undone_by_its_id_below_a_newer_one(seat: Seat) -> None:
    cut = seat.apply(FIRST, cut=3)
    seat.apply(SECOND)
    assert seat.main("undo", cut.id) == ExitCode.OK
    assert (seat.has("first"), seat.has("second")) == (None, "b = 1\n")


def test_undo_names_the_newer_run_that_changed_the_same(seat: Seat) -> None:
    old = seat.apply(FIRST)
    new = seat.apply(AGAIN)
    for words in (["--plan"], []):
        assert seat.main("undo", old.id, *words) == ExitCode.FAILED
        seat.says(f"run {new.id}, which is newer, changed /etc/first.conf as well: undo that run first")
    assert seat.has("first") == "a = 2\n"
    assert seat.main("undo") == ExitCode.OK
    assert seat.main("undo") == ExitCode.OK
    assert seat.has("first") is None


def test_a_run_whose_changes_are_gone_is_recorded_as_undone(seat: Seat) -> None:
    """Someone removed by hand what the run had made: undo says so, once, and the next undo takes the older run."""
    old = seat.apply(FIRST)
    new = seat.apply(SECOND)
    seat.put("/etc/second.conf", None)
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {new.id}", "none of its changes are left on this node; this is recorded")
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {old.id}")
    assert seat.has("first") is None


def test_kept_edits_keep_the_run_next_to_undo(seat: Seat) -> None:
    seat.apply(FIRST)
    new = seat.apply(SECOND)
    seat.put("/etc/second.conf", Entry("file", 0, 0, 0o644, b"b = 3\n"))
    for _ in range(2):
        assert seat.main("undo") == ExitCode.FAILED
        seat.says(f"selected run {new.id}")
    assert seat.main("undo", "--force") == ExitCode.OK
    assert seat.main("undo") == ExitCode.OK
    assert (seat.has("first"), seat.has("second")) == (None, None)


def test_undo_and_runs_count_undone_and_kept_changes(seat: Seat) -> None:
    """The counts of an undo are of changes, not of the one step that an undo run consists of."""
    run = seat.apply(FIRST, SECOND)
    seat.put("/etc/second.conf", Entry("file", 0, 0, 0o644, b"b = 3\n"))
    assert seat.main("undo") == ExitCode.FAILED
    seat.says("1 change undone, 1 kept", "/etc/second.conf")
    assert not any("0 changed" in line for line in seat.messages)
    undo = all_runs(seat.paths)[-1]
    assert seat.main("runs") == ExitCode.OK
    seat.says(f"undo of {run.id}  failed  1 change undone, 1 kept")
    assert seat.main("resume") == ExitCode.OK
    seat.says(f"skipped run {undo.id} (undo, failed); to undo the rest: bai-wizard undo {run.id}")
    assert seat.main("undo") == ExitCode.FAILED
    seat.says(f"undo run {run.id}: no change can be undone", "0 changes undone, 1 kept")
    # As an earlier version wrote it.
    values = json.loads((undo.path / "result.json").read_text())
    for damaged in ({}, {"undone": "1", "kept": []}):
        older = {name: value for name, value in values.items() if name not in ("undone", "kept")} | damaged
        (undo.path / "result.json").write_text(json.dumps(older))
        assert seat.main("runs") == ExitCode.OK
        seat.says(f"undo of {run.id}  failed  1 failed")
        assert Result.from_json(older).undone is None


@pytest.mark.parametrize("name", ["run.json", "result.json", "journal.jsonl"])
def test_the_doctor_names_a_damaged_run_and_continues(seat: Seat, name: str) -> None:
    damaged, _ = seat.apply(FIRST), seat.apply(SECOND)
    (damaged.path / name).write_text("damaged\n")
    for words in ([], ["--json"]):
        assert seat.main("doctor", "--only", "node.apt-lock-held", *words) == ExitCode.OK
        seat.says(f"run {damaged.id} is damaged: ")
        seat.says("node.apt-lock-held" if words else "1 passed")


def test_resume_takes_the_newest_run_that_did_not_finish(seat: Seat) -> None:
    cut = seat.apply(FIRST, SECOND, cut=3)
    seat.wanted = (FIRST, SECOND)
    assert seat.main("resume", "--plan") == ExitCode.OK
    seat.says(f"selected run {cut.id} (apply, interrupted), the newest that did not finish")
    done = seat.apply(DropIn(id="tuning.third", path="/etc/third.conf", text="c\n", why="tuning"))
    seat.wanted = (FIRST, SECOND)
    assert seat.main("resume") == ExitCode.OK
    seat.says(f"selected run {cut.id}", f"skipped run {done.id} (apply, done)")
    assert seat.has("second") == "b = 1\n"
    assert seat.main("resume") == ExitCode.OK
    seat.says("no run to resume")


def test_resume_takes_a_failed_run_but_not_after_it_was_undone(seat: Seat) -> None:
    seat.wanted = (FIRST, SECOND)
    seat.machine = SimulatedMachine(STATES, fault=fail_on("file:/etc/second", "no"))
    assert seat.main("--headless", str(seat.answers)) == ExitCode.FAILED
    (failed,) = all_runs(seat.paths)
    assert seat.main("resume") == ExitCode.FAILED
    seat.says(f"selected run {failed.id} (apply, failed)")
    assert seat.main("undo") == ExitCode.OK
    assert seat.main("resume") == ExitCode.OK
    seat.says("no run to resume", f"skipped run {failed.id} (apply, failed), which has since been undone")
    assert seat.has("first") is None


def test_an_interrupted_undo_is_continued_or_undone_again(seat: Seat) -> None:
    seat.apply(FIRST, SECOND)
    seat.cut = 3
    assert seat.main("undo") == ExitCode.FAILED
    seat.cut = None
    undo = all_runs(seat.paths)[-1]
    assert (seat.has("first") is None) != (seat.has("second") is None)
    assert seat.main("resume") == ExitCode.OK
    seat.says(f"selected run {undo.id} (undo, interrupted)")
    assert (seat.has("first"), seat.has("second")) == (None, None)


def test_resume_leaves_an_undo_alone_that_newer_answers_replaced(seat: Seat) -> None:
    seat.apply(FIRST, SECOND)
    seat.cut = 3
    assert seat.main("undo") == ExitCode.FAILED
    undo = all_runs(seat.paths)[-1]
    newer = seat.apply(FIRST, SECOND)
    assert seat.main("resume") == ExitCode.OK
    seat.says("no run to resume", f"skipped run {undo.id} (undo, interrupted), because run {newer.id}")
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", "b = 1\n")


def test_resume_takes_no_undo_that_left_something_alone(seat: Seat) -> None:
    """What was edited since is for a person to decide."""
    seat.apply(FIRST)
    seat.put("/etc/first.conf", Entry("file", 0, 0, 0o644, b"a = 3\n"))
    assert seat.main("undo") == ExitCode.FAILED
    assert seat.main("resume") == ExitCode.OK
    seat.says("no run to resume")


def test_restarts_that_an_undo_has_repeated_are_not_repeated_again(seat: Seat) -> None:
    """Undo restarts once where the run restarted twice; the other record must not count as a change."""
    seat.machine = SimulatedMachine({**STATES, Key("unit", "ssh.service"): Unit("enabled", "active", 0.0)})
    run = seat.apply(FIRST)
    journal = journal_of(run)
    for _ in range(2):
        restart = RestartUnit("ssh.service", "test")
        journal.finish(journal.intent("tuning.first", restart, {}, restart), "done", {})
    assert seat.main("undo", "--plan") == ExitCode.OK
    seat.says(f"undo run {run.id}: 1 change, then 1 command", "(holds 1 change)")
    assert seat.main("undo", "--yes-interrupt=docker.restart") == ExitCode.OK
    seat.says("1 change undone")
    assert sum(isinstance(done, RestartUnit) for done in seat.machine.performed) == 1
    for words in ([], [run.id]):
        assert seat.main("undo", *words) == ExitCode.OK
        assert sum(isinstance(done, RestartUnit) for done in seat.machine.performed) == 1
    journal.finish(2, "left")
    assert held_by(run).changes == 1


def test_an_undo_that_ended_before_its_commands_still_has_them_to_do(seat: Seat) -> None:
    """The files are back, but the service still uses the old ones."""
    seat.machine = SimulatedMachine({**STATES, Key("unit", "ssh.service"): Unit("enabled", "active", 0.0)})
    run = seat.apply(FIRST)
    journal = journal_of(run)
    restart = RestartUnit("ssh.service", "test")
    journal.finish(journal.intent("tuning.first", restart, {}, restart), "done", {})
    journal.finish(1, "undone")
    assert held_by(run).changes == 1
    seat.put("/etc/first.conf", None)
    assert seat.main("undo", run.id) == ExitCode.OK
    assert sum(isinstance(done, RestartUnit) for done in seat.machine.performed) == 1
    assert not held_by(run)


@pytest.mark.parametrize("command", ["undo", "resume", "headless"])
def test_a_run_that_came_between_the_choice_and_the_start_is_not_passed_over(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Another starter's run begins and ends while this command plans."""
    seat.apply(FIRST, SECOND, cut=3)
    seat.wanted = (FIRST, SECOND)
    between = DropIn(id="tuning.third", path="/etc/third.conf", text="c\n", why="tuning")
    agree = output.agree_to

    def meanwhile(*given: Any) -> Any:
        plan = plan_of(seat.machine, (between,))
        execute(seat.paths, create_run(seat.paths, plan, {}), plan.digest(), seat.machine)
        return agree(*given)

    for module in ("commands.runs", "commands.headless"):
        monkeypatch.setattr(f"bai_wizard.{module}.agree_to", meanwhile)
    words = ["--headless", str(seat.answers)] if command == "headless" else [command]
    assert seat.main(*words) == ExitCode.PREFLIGHT
    seat.says("another run has started in the meantime; nothing was changed. Run this command again")
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", None)
    assert [run.number for run in all_runs(seat.paths)] == [1, 2]


def test_without_runs_there_is_nothing(seat: Seat) -> None:
    for command in ("undo", "resume", "attach"):
        assert seat.main(command) == ExitCode.PREFLIGHT
        seat.says("no runs on this node yet")


def test_runs_reports_order_state_and_held_changes(seat: Seat) -> None:
    cut = seat.apply(FIRST, cut=3)
    done = seat.apply(SECOND)
    assert seat.main("runs", "--json") == ExitCode.OK
    rows = [json.loads(line) for line in seat.messages]
    assert [(row["run"], row["number"], row["state"], row["holds"]) for row in rows] == [
        (cut.id, 1, "interrupted", 1),
        (done.id, 2, "done", 1),
    ]
    assert seat.main("undo") == ExitCode.OK
    assert seat.main("runs") == ExitCode.OK
    undo = all_runs(seat.paths)[-1]
    assert seat.messages == [
        f"{cut.id}  #1  apply  interrupted  holds 1 change",
        f"{done.id}  #2  apply  done  1 changed  undone",
        f"{undo.id}  #3  undo of {done.id}  done  1 change undone",
    ]


DAMAGED = {
    # What is damaged of the newer run → what an undo without an id says of that run.
    ("run.json",): "selected run {new} (damaged)",
    ("events.jsonl",): "selected run {new} (done)",
    ("result.json",): "selected run {new} (damaged)",
    ("journal.jsonl",): "selected run {new} (done), the newest that holds changes (what it holds cannot be",
    ("run.json", "journal.jsonl"): "the records of run {new} that name its machine and release are damaged",
    ("run.json", "events.jsonl"): "selected run {new} (damaged)",
    ("run.json", "events.jsonl", "journal.jsonl"): "run {new} may be older or newer; what it holds cannot be",
}


@pytest.mark.parametrize("names", DAMAGED)
def test_a_damaged_newer_run_is_never_skipped_silently(seat: Seat, names: tuple[str, ...]) -> None:
    old = seat.apply(FIRST)
    new = seat.apply(SECOND)
    for name in names:
        (new.path / name).write_text("damaged\n")
    assert seat.main("undo", "--plan") in {*ExitCode} - {ExitCode.BUG}
    seat.says(DAMAGED[names].format(new=new.id))
    if "journal.jsonl" not in names:
        needed = {"run.json", "result.json"} & set(names)
        assert seat.main("undo", new.id) == (ExitCode.FAILED if needed else ExitCode.OK)
        for name in needed:
            seat.says(name)
        assert seat.has("second") is None
    assert seat.main("undo", old.id) == ExitCode.OK
    assert seat.has("first") is None


def test_a_journal_that_cannot_be_read_may_hold_anything(seat: Seat) -> None:
    run = seat.apply(FIRST)
    run.journal.write_text("[]\n[]\n")
    assert held_by(run)
    assert "cannot be determined" in str(held_by(run))


def test_many_sentences_are_counted() -> None:
    assert capped(["x"] * 5) == ["x"] * 5
    assert capped(["x"] * 7)[5:] == ["and 2 more runs; see: bai-wizard runs"]


def test_an_undo_run_is_not_undone(seat: Seat) -> None:
    seat.apply(FIRST)
    assert seat.main("undo") == ExitCode.OK
    assert seat.main("undo", all_runs(seat.paths)[-1].id) == ExitCode.PREFLIGHT
    seat.says("is of kind undo")


def test_an_undo_run_that_names_no_run_never_undoes_the_newest(seat: Seat) -> None:
    seat.apply(FIRST)
    plan = plan_of(seat.machine, ())
    undo = create_run(seat.paths, plan, {}, kind="undo", undoes="")
    with pytest.raises(ValueError, match="damaged"):
        execute(seat.paths, undo, plan.digest(), seat.machine)
    assert seat.has("first") == "a = 1\n"


@pytest.mark.parametrize("words", [(), ("20260101T000000Z-0000",)], ids=["any", "named"])
def test_users_other_than_root_are_told_to_use_sudo(seat: Seat, words: tuple[str, ...]) -> None:
    seat.apply(FIRST)

    def attach() -> str:
        try:
            find_run(seat.paths, *words)
        except PreflightError as error:
            return str(error)
        return ""

    assert run_as(Identity(65534, 65534, ()), attach, answer=str).endswith("permission denied; use sudo")


def test_a_draft_is_offered_again_unless_its_run_is_known_to_be_in_effect(seat: Seat) -> None:
    """The end of a run is unknown to users other than root, and an undone run is not in effect."""
    run = seat.apply(FIRST)
    session = Session(seat.machine, seat.paths, lambda _run, _digest: None, lambda _run: None)
    assert session.exit_code_of(run.id) == ExitCode.OK
    assert seat.main("undo") == ExitCode.OK
    assert session.exit_code_of(run.id) == ExitCode.INTERRUPTED
    code = run_as(Identity(65534, 65534, ()), session.exit_code_of, run.id, answer=int)
    assert code == ExitCode.INTERRUPTED
