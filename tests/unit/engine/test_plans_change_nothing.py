"""`undo --plan` and `resume --plan` change neither the node nor the state directory, however the run ended."""

from __future__ import annotations

import stat
from argparse import Namespace
from pathlib import Path

import pytest

from bai_wizard.commands import wizard
from bai_wizard.compose import desired_from_json
from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Entry, Key
from bai_wizard.engine.directory import all_runs, journal_of
from bai_wizard.engine.undo import plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.resources.users import AddGroup, AddUser
from bai_wizard.session import Session
from bai_wizard.steps.accounts import LocalAccount
from bai_wizard.steps.files import Directory
from tests.unit.engine.plans import plan_of
from tests.unit.engine.test_run_selection import FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root

ACCOUNT = LocalAccount(id="account.user", name="new", uid=1234, gid=1234, home="/home/new", shell="/bin/bash")


def files(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every path below `top`, with mode, time of change and content."""
    result = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        result[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return result


@pytest.mark.parametrize("words", [("undo", "--plan"), ("undo", "--plan", "--force"), ("resume", "--plan")])
@pytest.mark.parametrize("cut", range(1, 16, 2))
def test_a_plan_over_an_interrupted_run(seat: Seat, words: tuple[str, ...], cut: int) -> None:
    before = seat.machine.snapshot()
    run = seat.apply(FIRST, ACCOUNT, SECOND, cut=cut)
    node, state = seat.machine.snapshot(), files(seat.paths.root)
    assert seat.main(*words) == ExitCode.OK, seat.messages
    assert seat.machine.snapshot() == node
    assert files(seat.paths.root) == state
    open_ones = [entry for entry in journal_of(run).entries() if entry.status == "open"]
    assert bool(open_ones) == any("when the run was interrupted" in line for line in seat.messages), seat.messages
    if words[0] == "resume":
        assert seat.main("resume") == ExitCode.OK, seat.messages
    assert seat.main("undo", run.id) == ExitCode.OK
    assert seat.machine.snapshot() == before


@pytest.mark.parametrize("cut", range(1, 14, 2))
def test_a_plan_over_an_interrupted_undo(seat: Seat, cut: int) -> None:
    before = seat.machine.snapshot()
    run = seat.apply(FIRST, ACCOUNT, SECOND)
    seat.cut = cut
    seat.main("undo")
    seat.cut = None
    node, state = seat.machine.snapshot(), files(seat.paths.root)
    for words in (("undo", run.id, "--plan"), ("resume", all_runs(seat.paths)[-1].id, "--plan")):
        assert seat.main(*words) == ExitCode.OK, seat.messages
        assert seat.machine.snapshot() == node
        assert files(seat.paths.root) == state
    planned = plan_undo(run, seat.machine)
    assert seat.main("resume", all_runs(seat.paths)[-1].id) == ExitCode.OK, seat.messages
    assert seat.machine.snapshot() == before
    changed = {key for key in {*node, *before} if node.get(key) != before.get(key) and key.kind != "password"}
    shown = {change.key for _, change in planned.changes if change.key is not None}
    assert shown == changed or (planned.recovered and shown < changed)


def test_the_account_that_was_half_made_stays_until_it_is_really_undone(seat: Seat) -> None:
    """The review's S2-5: the plan removed it."""
    seat.apply(ACCOUNT, cut=6)
    made: list[Operation] = [entry.operation for entry in journal_of(all_runs(seat.paths)[-1]).entries()]
    assert [type(operation) for operation in made] == [AddGroup, AddUser]
    assert seat.machine.state(Key("user", "new")) is not None
    assert seat.main("undo", "--plan") == ExitCode.OK
    seat.says("recovered first: account.user: new")
    assert seat.machine.state(Key("user", "new")) is not None
    assert seat.main("undo") == ExitCode.OK
    assert seat.machine.state(Key("user", "new")) is None


def test_resources_in_use_are_not_undone_repeatedly(seat: Seat) -> None:
    run = seat.apply(Directory(id="storage.data", path="/srv/data"))
    theirs = Key("file", "/srv/data/file")
    seat.machine.set_state(theirs, Entry("file", 5, 5, 0o644, b"theirs"))
    assert seat.main("undo") == ExitCode.OK
    made = len(all_runs(seat.paths))
    for words in (("undo",), ("undo", "--plan"), ("undo", "--force")):
        assert seat.main(*words) == ExitCode.OK
        seat.says(f"undo run {run.id}: what is left of it is in use by others and is kept", "/srv/data/ holds file")
    assert len(all_runs(seat.paths)) == made
    seat.machine.set_state(theirs, None)
    assert seat.main("undo") == ExitCode.OK
    assert seat.machine.state(Key("file", "/srv/data")) is None


def opened(seat: Seat) -> tuple[Session, list[str]]:
    """The wizard as root opens it, full screen or by line prompts, and what it tells."""
    lines: list[str] = []
    arguments = Namespace(demo=None, answers=None, handed_over=None, root=str(seat.paths.root))
    return wizard._opening(arguments, lines.append)[0], lines


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("cut", range(1, 16, 2))
def test_the_wizard_recovers_only_what_was_confirmed(seat: Seat, cut: int, fresh: bool) -> None:
    before = seat.machine.snapshot()
    steps = (FIRST, ACCOUNT, SECOND)
    run = seat.apply(*steps, cut=cut)
    node, state = seat.machine.snapshot(), files(seat.paths.root)
    session, lines = opened(seat)
    is_open = any(entry.status == "open" for entry in journal_of(run).entries())
    assert is_open == any(f"run {run.id} was interrupted" in line for line in lines)
    assert is_open == bool(session.to_recover())
    plan = plan_of(session.foreseen(), steps)
    assert seat.machine.snapshot() == node
    assert files(seat.paths.root) == state
    if fresh:
        run = session.begin(plan, desired_from_json(run.settings()))
    else:
        session.begin_again(run, plan)
    assert (run.result() or {}).get("code") == ExitCode.OK
    assert not any(entry.status == "open" for each in all_runs(seat.paths) for entry in journal_of(each).entries())
    while seat.machine.snapshot() != before:
        holding = len(seat.machine.performed)
        assert seat.main("undo") == ExitCode.OK, seat.messages
        assert len(seat.machine.performed) > holding, seat.messages
