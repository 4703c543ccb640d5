"""Undo of an account removes its group in one operation, and root never becomes a member of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from bai_wizard.core.state import Account, Group, Key, Membership, States
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.users import AddGroup, AddUser, RemoveGroup, RemoveUser
from tests.unit.engine.plans import STATES, plan_of
from tests.unit.engine.test_plans_change_nothing import ACCOUNT
from tests.unit.engine.test_run import PowerCut, cut_at, run_plan, undo_run
from tests.unit.machine.test_shadow_recovery import FILES, files, node

NEW = Key("user", "new")
GROUP = Key("group", "new")


@pytest.mark.needs_root
@pytest.mark.parametrize("enabled", ["yes", "no"])
def test_the_shadow_tools_leave_the_files_as_they_were(tmp_path: Path, enabled: str) -> None:
    """Byte for byte, whether userdel removes groups itself or not, and without advice to join the group."""
    machine = node(tmp_path / "root")
    (tmp_path / "root/etc/login.defs").write_text(f"USERGROUPS_ENAB {enabled}\nUID_MAX 60000\n")
    before = files(machine)
    lines: list[str] = []

    def log(text: str, **_: object) -> None:
        lines.append(text)

    machine.apply(AddGroup("bai", 1100))
    machine.apply(AddUser("bai", 1100, 1100, "", "/home/bai", "/bin/bash"))
    machine.apply(RemoveUser("bai", with_group=True), log)
    after = files(machine)
    assert after["group"] == FILES["group"].encode()
    assert {name: after[name] for name in before} == before
    assert not any("root" in text for text in lines), lines


def test_account_and_group_are_removed_in_one_operation(tmp_path: Path) -> None:
    paths, machine = StatePaths(tmp_path), SimulatedMachine(STATES)
    before = machine.snapshot()
    run, result = run_plan(paths, machine, plan_of(machine, (ACCOUNT,)))
    assert result.code() is ExitCode.OK
    machine.performed.clear()
    assert undo_run(paths, machine, run).code() is ExitCode.OK
    removed = [each for each in machine.performed if isinstance(each, RemoveUser | RemoveGroup)]
    assert removed == [RemoveUser("new", with_group=True)]
    assert machine.snapshot() == before


@pytest.mark.parametrize("why", ["member", "primary group", "not ours"])
def test_a_group_that_stays_is_not_removed_with_the_account(tmp_path: Path, why: str) -> None:
    paths, machine = StatePaths(tmp_path), SimulatedMachine(STATES)
    if why == "not ours":
        machine.set_state(GROUP, Group("new", 1234))
    run, result = run_plan(paths, machine, plan_of(machine, (ACCOUNT,)))
    assert result.code() is ExitCode.OK
    if why == "member":
        machine.set_state(Key("member", "new:bai"), Membership())
    elif why == "primary group":
        machine.set_state(Key("user", "other"), Account("other", 1500, 1234, "", "/home/other", "/bin/bash"))
    machine.performed.clear()
    undo_run(paths, machine, run)
    removed = [each for each in machine.performed if isinstance(each, RemoveUser | RemoveGroup)]
    assert removed == [RemoveUser("new")]
    assert machine.state(NEW) is None
    assert machine.state(GROUP) is not None


@pytest.mark.parametrize("number", range(16))
def test_an_undo_that_is_killed_at_any_instant_is_resumed(tmp_path: Path, number: int) -> None:
    paths, machine = StatePaths(tmp_path), SimulatedMachine(STATES)
    before = machine.snapshot()
    run, _ = run_plan(paths, machine, plan_of(machine, (ACCOUNT,)))
    undo = create_run(paths, plan_of(machine, ()), {}, kind="undo", undoes=run.id)
    with suppress(PowerCut):
        execute(paths, undo, undo.plan().digest(), machine, checkpoint=cut_at(number))
    assert execute(paths, undo, undo.plan().digest(), machine).code() is ExitCode.OK
    assert machine.snapshot() == before


@pytest.mark.parametrize("left", [(), (GROUP,), (NEW, GROUP)])
def test_recovery_steps_restore_a_removed_account(left: tuple[Key, ...]) -> None:
    """userdel was killed before, between and after its writes; `left` is what it had not removed."""
    operation = RemoveUser("new", with_group=True)
    states: States = {NEW: Account("new", 1234, 1234, "", "/home/new", "/bin/bash"), GROUP: Group("new", 1234)}
    machine = SimulatedMachine({**STATES, **{key: states[key] for key in left}})
    for part in operation.recovery_steps(states, machine):
        machine.apply(part)
    assert {key: machine.state(key) for key in states} == states
