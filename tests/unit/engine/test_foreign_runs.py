"""A run directory belongs to one machine and one release: elsewhere, `undo` and `resume` refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.state import Entry, Key, State
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, all_runs, create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.recovery import (
    doubt,
    machine_id,
    made_elsewhere,
    of_other_release,
    recover_interrupted_runs,
    release,
)
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.steps import load_all
from tests.unit.engine.plans import STATES
from tests.unit.engine.test_run_selection import FIRST, SECOND, Seat, seat
from tests.unit.test_released_fixtures import on_a_node

__all__ = ["seat"]
pytestmark = pytest.mark.needs_root

MINE, OTHER = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
TRIXIE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n'


def file(content: str | bytes) -> Entry:
    return Entry("file", 0, 0, 0o444, content.encode() if isinstance(content, str) else content)


def link(target: str) -> Entry:
    return Entry("link", 0, 0, 0o777, target=target)


def node(**files: State | None) -> SimulatedMachine:
    """A node with files of these names below /etc."""
    made = {
        Key("file", f"/etc/{name.replace('_', '-')}"): state for name, state in files.items() if state is not None
    }
    return SimulatedMachine({**STATES, **made})


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (MINE + "\n", MINE), (MINE, MINE), (MINE.upper() + "\n", MINE), ("uninitialized\n", ""), ("", ""), ("\n", ""),
        (None, ""), ("0" * 32 + "\n", ""), (MINE[:31], ""), (MINE + "0", ""), (b"\xff" * 32, ""), ("x" * 32, ""),
        (MINE + "\n" + OTHER, ""),
    ],
)  # fmt: skip
def test_machine_id(content: str | bytes | None, read: str) -> None:
    assert machine_id(node(machine_id=None if content is None else file(content))) == read


def test_machine_id_through_links() -> None:
    machine = SimulatedMachine(
        {
            Key("file", "/etc/machine-id"): link("../var/lib/dbus/machine-id"),
            Key("file", "/var/lib/dbus/machine-id"): link("/run/machine-id"),
            Key("file", "/run/machine-id"): file(MINE),
        }
    )
    assert machine_id(machine) == MINE
    assert machine_id(node(machine_id=link("machine-id"))) == ""
    assert machine_id(node(machine_id=link("nothing"))) == ""
    assert machine_id(node(machine_id=Entry("directory", 0, 0, 0o755))) == ""
    assert machine_id(node(machine_id=Entry("other", 0, 0, 0o644))) == ""


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (BOOKWORM, "debian 12"), ("ID=ubuntu\nVERSION_ID='24.04'\r\n", "ubuntu 24.04"), ("ID=debian\n", "debian"),
        ("ID=\nVERSION_ID=\n", ""), ("", ""), ("nonsense", ""), ("#ID=x\nID=a \nVERSION_ID=1", "a 1"),
    ],
)  # fmt: skip
def test_release(text: str, read: str) -> None:
    assert release(node(os_release=file(text))) == read
    usual = {
        Key("file", "/etc/os-release"): link("../usr/lib/os-release"),
        Key("file", "/usr/lib/os-release"): file(text),
    }
    assert release(SimulatedMachine(usual)) == read
    assert release(SimulatedMachine({Key("file", "/usr/lib/os-release"): file(text)})) == read


def became(seat: Seat, **files: State | None) -> None:
    """Replace these files below /etc."""
    for name, state in files.items():
        seat.put(f"/etc/{name.replace('_', '-')}", state)


# machine-id at the run and afterwards; whether the run may be undone and resumed then.
MACHINES: list[tuple[str | None, str | None, bool]] = [
    (MINE, MINE, True),
    (MINE, OTHER, False),
    (MINE, None, False),
    (MINE, "", False),
    (MINE, "uninitialized\n", False),
    (None, MINE, True),
    ("", MINE, True),
    ("uninitialized\n", MINE, True),
    ("uninitialized\n", "uninitialized\n", True),
    (None, None, True),
]


@pytest.mark.parametrize(("then", "now", "allowed"), MACHINES)
def test_on_a_clone_runs_of_the_original_are_refused(
    seat: Seat, then: str | None, now: str | None, allowed: bool
) -> None:
    became(seat, machine_id=None if then is None else file(then))
    run = seat.apply(FIRST, SECOND, cut=2)
    became(seat, machine_id=None if now is None else file(now))
    before, journal = seat.machine.snapshot(), run.journal.read_bytes()
    seat.wanted = (FIRST, SECOND)
    for words in ([], [run.id], ["--plan"], [run.id, "--plan"]):
        for command in ("undo", "resume"):
            if allowed and "--plan" not in words:
                continue
            code = seat.main(command, *words)
            assert code == (ExitCode.OK if allowed else ExitCode.PREFLIGHT)
            if not allowed:
                seat.says(f"run {run.id}", "it can be undone and resumed only there")
                assert [line for line in seat.messages if line] == seat.messages[:1], "one sentence"
    lines = recover_interrupted_runs(seat.paths, seat.machine)
    if not allowed:
        assert "left unchanged" in lines[0]
        assert (seat.machine.snapshot(), run.journal.read_bytes()) == (before, journal)
        seat.main("runs", "--json")
        assert "only there" in json.loads(seat.messages[0])["not_undoable"]
    else:
        assert seat.main("resume") == ExitCode.OK
        assert seat.main("undo") == ExitCode.OK
    assert seat.has("first") == (None if allowed else "a = 1\n")


def test_a_clone_uses_its_own_runs(seat: Seat) -> None:
    became(seat, machine_id=file(MINE))
    original = seat.apply(FIRST)
    became(seat, machine_id=file(OTHER))
    own = seat.apply(SECOND)
    assert (original.number, own.number) == (1, 2)
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {own.id}", f"run {original.id}, which is older", "only there")
    assert seat.main("undo") == ExitCode.PREFLIGHT
    seat.says(f"run {original.id} was made on another machine")
    assert (seat.has("first"), seat.has("second")) == ("a = 1\n", None)


def test_the_executor_refuses_as_well(seat: Seat) -> None:
    became(seat, machine_id=file(MINE))
    run = seat.apply(FIRST)
    became(seat, machine_id=file(OTHER))
    undo = create_run(seat.paths, Plan("test"), {}, kind="undo", undoes=run.id)
    for each in (undo, run):
        with pytest.raises(PreflightError, match="another machine"):
            execute(seat.paths, each, each.plan().digest(), seat.machine)
    assert [each.id for each in all_runs(seat.paths)] == [run.id]
    assert seat.has("first") == "a = 1\n"


def test_after_an_upgrade_of_the_distribution_undo_only_shows(seat: Seat) -> None:
    became(seat, os_release=file(BOOKWORM), machine_id=file(MINE))
    run = seat.apply(FIRST)
    became(seat, os_release=file(TRIXIE))
    before, made = seat.machine.snapshot(), len(all_runs(seat.paths))
    for words in ([], [run.id], ["--force"]):
        assert seat.main("undo", *words) == ExitCode.PREFLIGHT
        seat.says(
            f"run {run.id} was made on debian 12, and this node now runs debian 13: "
            "runs cannot be undone across releases"
        )
        seat.says(f"bai-wizard undo {run.id} --plan")
        assert not any("first.conf" in line for line in seat.messages)
    for words in (["--plan"], [run.id, "--plan"]):
        assert seat.main("undo", *words) == ExitCode.PREFLIGHT
        seat.says("/etc/first.conf", "runs cannot be undone across releases")
    assert (seat.machine.snapshot(), len(all_runs(seat.paths))) == (before, made)
    newer = seat.apply(SECOND)
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {newer.id}")


def test_after_an_upgrade_no_run_is_resumed_or_settled(seat: Seat) -> None:
    became(seat, os_release=file(BOOKWORM))
    run = seat.apply(FIRST, SECOND, cut=5)
    became(seat, os_release=file(TRIXIE))
    before, journal = seat.machine.snapshot(), run.journal.read_bytes()
    assert seat.main("undo", run.id, "--plan") == ExitCode.PREFLIGHT
    for words in ([], [run.id], [run.id, "--plan"]):
        assert seat.main("resume", *words) == ExitCode.PREFLIGHT
        seat.says("runs cannot be resumed across releases; start a new run")
    assert (seat.machine.snapshot(), run.journal.read_bytes()) == (before, journal)


def test_without_a_release_now_nothing_is_assumed(seat: Seat) -> None:
    became(seat, os_release=file(BOOKWORM))
    seat.apply(FIRST)
    became(seat, os_release=None)
    assert seat.main("undo") == ExitCode.PREFLIGHT
    seat.says("/etc/os-release does not name the release of this node")


@pytest.mark.parametrize("name", ["applied", "killed", "failed", "undone"])
def test_runs_of_0_1_0_count_as_this_machines(seat: Seat, name: str) -> None:
    _, (run,) = on_a_node(seat.paths.root, "0.1.0", name)
    machine = node(machine_id=file(MINE), os_release=file(TRIXIE))
    assert made_elsewhere(run, machine) == of_other_release(run, machine) == ""
    assert f"it was made on host {run.metadata['host']}, and this is host other" in doubt(run, "other")
    assert doubt(run, run.metadata["host"]) == ""


@pytest.mark.parametrize("command", ["undo", "resume"])
def test_that_a_run_of_0_1_0_may_be_of_another_machine_is_reported(seat: Seat, command: str) -> None:
    _, (run,) = on_a_node(seat.paths.root, "0.1.0", "killed")
    seat.main(command, run.id, "--plan")
    seat.says(f"run {run.id} does not record its machine; it was made on host {run.metadata['host']}")


def test_both_are_recorded_when_the_run_begins(seat: Seat) -> None:
    became(seat, os_release=file(BOOKWORM), machine_id=file(MINE))
    about = RunDirectory(seat.apply(FIRST).path).metadata
    assert (about["machine"], about["release"]) == (MINE, "debian 12")


def unlink(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lose_machine(path: Path) -> None:
    about = json.loads(path.read_text())
    path.write_text(json.dumps({name: about[name] for name in about if name not in ("machine", "release", "number")}))


def change_machine(path: Path) -> None:
    path.write_text(path.read_text().replace(MINE, OTHER))


METADATA = (unlink, empty, zero, directory, lose_machine, change_machine)


def break_first_record(path: Path) -> None:
    """The record of the journal that names the machine as well."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert MINE.encode() in lines[0]
    path.write_bytes(b"".join([lines[0].replace(MINE.encode(), OTHER.encode()), *lines[1:]]))


@pytest.mark.parametrize("damage", METADATA)
@pytest.mark.parametrize("cut", [None, 5])
def test_damaged_metadata_does_not_make_a_run_that_of_a_clone(
    seat: Seat, damage: Callable[[Path], None], cut: int | None
) -> None:
    became(seat, machine_id=file(MINE), os_release=file(TRIXIE))
    run = seat.apply(FIRST, SECOND, cut=cut)
    damage(run.path / "run.json")
    here = seat.machine
    became(seat, machine_id=file(OTHER))
    before, journal = seat.machine.snapshot(), run.journal.read_bytes()
    for words in (["undo"], ["undo", run.id], ["undo", "--force"], ["undo", run.id, "--plan"]):
        assert seat.main(*words) == ExitCode.PREFLIGHT
        seat.says(f"run {run.id} was made on another machine (its machine-id differs)")
    assert seat.main("resume", run.id) == ExitCode.PREFLIGHT
    recover_interrupted_runs(seat.paths, seat.machine)
    assert (seat.machine.snapshot(), run.journal.read_bytes()) == (before, journal)
    seat.machine = here
    became(seat, os_release=file(BOOKWORM))
    assert seat.main("undo", run.id) == ExitCode.PREFLIGHT
    seat.says(f"run {run.id} was made on debian 13, and this node now runs debian 12")
    became(seat, os_release=file(TRIXIE))
    is_seen = damage not in (lose_machine, change_machine)
    assert seat.main("undo") == (ExitCode.FAILED if is_seen else ExitCode.OK), seat.messages
    assert (seat.has("first"), seat.has("second")) == (None, None), "what is not damaged is undone"


@pytest.mark.parametrize("damage", METADATA[:-1])
def test_a_run_of_an_unknown_machine_is_undone_by_force_only(seat: Seat, damage: Callable[[Path], None]) -> None:
    became(seat, machine_id=file(MINE))
    run = seat.apply(FIRST)
    damage(run.path / "run.json")
    break_first_record(run.journal)
    before, journal = seat.machine.snapshot(), run.journal.read_bytes()
    for words in (["undo"], ["undo", run.id], ["undo", run.id, "--plan"], ["undo", "--plan"]):
        assert seat.main(*words) == ExitCode.PREFLIGHT, words
        seat.says(f"the records of run {run.id} that name its machine and release are damaged, so it is not undone")
        seat.says(f"run: bai-wizard undo {run.id} --force")
    assert seat.main("resume", run.id) == ExitCode.PREFLIGHT
    assert (seat.machine.snapshot(), run.journal.read_bytes()) == (before, journal)
    assert seat.main("undo", "--force") == ExitCode.FAILED
    seat.says("it is treated as a run of this node because of --force", "damaged")
    assert seat.has("first") is None


def test_a_run_of_unknown_owner_does_not_hide_a_run_of_this_machine(seat: Seat) -> None:
    became(seat, machine_id=file(MINE))
    own, lost = seat.apply(FIRST), seat.apply(SECOND)
    unlink(lost.path / "run.json")
    break_first_record(lost.journal)
    assert [run.id for run in all_runs(seat.paths)] == [own.id, lost.id]
    assert seat.main("undo") == ExitCode.OK
    seat.says(f"selected run {own.id}", f"the records of run {lost.id} that name its machine")
    assert (seat.has("first"), seat.has("second")) == (None, "b = 1\n")


def test_a_damaged_run_of_0_1_0_shows_the_host_of_its_plan(seat: Seat) -> None:
    _, (run,) = on_a_node(seat.paths.root, "0.1.0", "applied")
    load_all()
    host = run.plan().host
    unlink(run.path / "run.json")
    seat.main("undo", run.id, "--plan")
    seat.says(f"run {run.id} does not record its machine; it was made on host {host}")
    unlink(run.path / "plan.json")
    seat.main("undo", run.id, "--plan")
    seat.says(f"run {run.id} does not record its machine, and its metadata is damaged")
