"""Partial undo: edits by others are kept and do not block, dependents of kept parts are kept, the plan is exact."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.event import Log, silent
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import (
    Account,
    Entry,
    Group,
    Image,
    Key,
    Membership,
    Package,
    Password,
    State,
    Tree,
    Unit,
    Venv,
    image_key,
    package_key,
    tree_key,
    venv_key,
)
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory, create_run, journal_of
from bai_wizard.engine.executor import JournalledNode, execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.recovery import damages_of
from bai_wizard.engine.result import Result
from bai_wizard.engine.undo import UndoPlan, plan_undo
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.files import MakeDirectory, MakeLink, RemovePath, SetImmutable, WriteFile
from bai_wizard.resources.images import PullImages, RemoveImages
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.packages import HoldPackages
from bai_wizard.resources.pythons import InstallPython, MakeVenv
from bai_wizard.resources.units import RestartUnit, SetUnit
from bai_wizard.resources.users import AddGroup, AddMember, AddUser, RemoveUser, SetPassword
from bai_wizard.steps.docker import DAEMON_JSON
from tests.unit.engine.test_run import PowerCut, cut_at

BASE: dict[Key, State] = {
    Key("file", "/etc"): Entry("directory", 0, 0, 0o755),
    Key("file", "/home"): Entry("directory", 0, 0, 0o755),
    Key("file", "/etc/hosts"): Entry("file", 0, 0, 0o644, b"127.0.0.1 localhost\n"),
    Key("file", "/etc/fstab"): Entry("file", 0, 0, 0o644, b"/dev/sda1 / ext4 defaults 0 1\n"),
    Key("file", "/etc/docker/daemon.json"): Entry("file", 0, 0, 0o600, b'{"debug": true}\n'),
    Key("user", "alice"): Account("alice", 1000, 1000, "", "/home/alice", "/bin/bash"),
    Key("group", "docker"): Group("docker", 999),
    Key("unit", "x.service"): Unit("disabled", "active"),
}
HOSTS = b"127.0.0.1 localhost\n# BEGIN bai-wizard\n10.0.0.1 manager\n10.0.0.2 storage\n# END bai-wizard\n"
FSTAB = b"/dev/sda1 / ext4 defaults 0 1\n# BEGIN bai-wizard\nnas:/x /vfroot/x nfs defaults 0 0\n# END bai-wizard\n"
HOME = "/home/bai"
ACCOUNT: tuple[tuple[str, Operation], ...] = (
    ("account.user", AddGroup("bai", 1100)),
    ("account.user", AddUser("bai", 1100, 1100, "", HOME, "/bin/bash")),
    ("account.home", MakeDirectory(HOME, 1100, 1100, 0o750)),
    ("account.home", WriteFile(f"{HOME}/.bashrc", b"skel\n", 1100, 1100)),
    ("account.password", SetPassword("bai", Secret("$6$ours"))),
    ("docker.users", AddMember("bai", "docker")),
)
VOLUME: tuple[tuple[str, Operation], ...] = (
    ("storage.points", MakeDirectory("/vfroot")),
    ("storage.points", MakeDirectory("/vfroot/x")),
    ("storage.x", WriteFile("/etc/fstab", FSTAB)),
    ("storage.x", SetMount("/vfroot/x", True, "nas:/x", "nfs")),
)
# Parts of an account or a tree, which are not shown separately; a restart has no state.
PARTS = {"password", "venv", "distribution", "interpreter", "restart"}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatePaths:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # nothing here needs it, and it takes most of the time
    return StatePaths(tmp_path)


@pytest.fixture
def machine() -> SimulatedMachine:
    return SimulatedMachine(BASE)


def recorded(
    paths: StatePaths, machine: SimulatedMachine, operations: Sequence[tuple[str, Operation]], *, end: bool = True
) -> RunDirectory:
    """A run that did these operations."""
    plan = Plan("test")
    run = create_run(paths, plan, {})
    journal = journal_of(run)
    for step, operation in operations:
        JournalledNode(machine, journal, step, silent).do(operation)
    journal.close()
    if end:
        run.end(Result((), "").to_json(), journal_of(run))
        assert damages_of(run) == []
    return run


def undone(
    paths: StatePaths, machine: SimulatedMachine, run: RunDirectory, *, force: bool = False
) -> tuple[UndoPlan, Result]:
    """Undoes a run, and holds the plan against what was done."""
    before = machine.snapshot()
    planned = plan_undo(run, machine, force=force)
    assert machine.snapshot() == before
    plan = Plan("test")
    undo = create_run(paths, plan, {}, kind="undo", undoes=run.id)
    undo.begin_attempt(plan, {**undo.metadata, "force": force})
    result = execute(paths, undo, plan.digest(), machine)
    assert result.code() is (ExitCode.FAILED if planned.conflicts else ExitCode.OK)
    assert set(planned.lasting) == set(result.lasting)
    for conflict in planned.conflicts:
        assert conflict in result.steps[0].text
    after = machine.snapshot()
    # What is recovered first is told in words.
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key) and key.kind not in PARTS}
    shown = {change.key for _, change in planned.changes if change.key and change.key.kind not in PARTS}
    assert shown == changed or (planned.recovered and shown < changed)
    return planned, result


def content(machine: SimulatedMachine, path: str) -> bytes | None:
    entry = machine.state(Key("file", path))
    return entry.content if isinstance(entry, Entry) else None


def put(machine: SimulatedMachine, path: str, data: bytes, **attributes: int) -> None:
    """An edit by others; owner and mode stay unless given."""
    there = machine.state(Key("file", path))
    base = there if isinstance(there, Entry) else Entry("file", 0, 0, 0o644)
    uid, mode = attributes.get("uid", base.uid), attributes.get("mode", base.mode)
    machine.set_state(Key("file", path), Entry("file", uid, base.gid, mode, data))


@pytest.mark.parametrize("force", [False, True])
def test_a_line_of_others_survives(paths: StatePaths, machine: SimulatedMachine, force: bool) -> None:
    run = recorded(paths, machine, [("aliases.block", WriteFile("/etc/hosts", HOSTS))])
    put(machine, "/etc/hosts", b"192.0.2.1 first\n" + HOSTS + b"192.0.2.7 printer\n", mode=0o640)
    _, result = undone(paths, machine, run, force=force)
    assert result.code() is ExitCode.OK
    entry = machine.state(Key("file", "/etc/hosts"))
    assert entry == Entry("file", 0, 0, 0o640, b"192.0.2.1 first\n127.0.0.1 localhost\n192.0.2.7 printer\n")


@pytest.mark.parametrize("force", [False, True])
def test_attributes_are_parts_of_their_own(paths: StatePaths, machine: SimulatedMachine, force: bool) -> None:
    path = "/etc/docker/daemon.json"
    run = recorded(paths, machine, [("docker.config", WriteFile(path, b'{"debug": true, "ours": 1}\n'))])
    machine.set_state(Key("file", path), Entry("file", 0, 0, 0o664, b'{"debug": true, "ours": 1}\n'))
    undone(paths, machine, run, force=force)
    assert machine.state(Key("file", path)) == Entry("file", 0, 0, 0o664, b'{"debug": true}\n')


def test_the_mode_that_we_set_goes_back_with_edits_of_others_in_place(
    paths: StatePaths, machine: SimulatedMachine
) -> None:
    path = "/etc/docker/daemon.json"
    run = recorded(paths, machine, [("docker.config", WriteFile(path, b'{"debug": true, "ours": 1}\n'))])
    put(machine, path, b'{"debug": false, "ours": 1, "theirs": [1]}\n')
    undone(paths, machine, run)
    assert machine.state(Key("file", path)) == Entry("file", 0, 0, 0o600, b'{"debug": false, "theirs": [1]}\n')


def test_only_our_edited_line_is_kept_and_force_removes_it(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, [("aliases.block", WriteFile("/etc/hosts", HOSTS))])
    put(machine, "/etc/hosts", HOSTS.replace(b"10.0.0.2 storage", b"10.0.0.9 storage") + b"192.0.2.7 printer\n")
    planned, result = undone(paths, machine, run)
    assert "10.0.0.9 storage" in planned.conflicts[0]
    assert result.code() is ExitCode.FAILED
    assert b"10.0.0.1" not in (content(machine, "/etc/hosts") or b"")
    _, forced = undone(paths, machine, run, force=True)
    assert forced.code() is ExitCode.OK
    assert content(machine, "/etc/hosts") == b"127.0.0.1 localhost\n192.0.2.7 printer\n"


def test_several_operations_on_one_file(paths: StatePaths, machine: SimulatedMachine) -> None:
    first = HOSTS.replace(b"10.0.0.2 storage\n", b"")
    run = recorded(
        paths, machine, [("a.one", WriteFile("/etc/hosts", first)), ("a.two", WriteFile("/etc/hosts", HOSTS))]
    )
    put(machine, "/etc/hosts", HOSTS.replace(b"10.0.0.1 manager\n", b"10.0.0.1 manager\n# theirs\n"))
    undone(paths, machine, run)
    assert content(machine, "/etc/hosts") == b"127.0.0.1 localhost\n# theirs\n"


def test_our_file_and_directory_stay_with_lines_of_others(paths: StatePaths, machine: SimulatedMachine) -> None:
    operations = [
        ("x.directory", MakeDirectory("/etc/x.d")),
        ("x.file", WriteFile("/etc/x.d/90.conf", b"[Service]\nA=1\n")),
        ("x.other", WriteFile("/etc/x.d/91.conf", b"B=1\n")),
    ]
    run = recorded(paths, machine, operations)
    put(machine, "/etc/x.d/90.conf", b"[Service]\nA=1\nTheirs=1\n", uid=5)
    _, result = undone(paths, machine, run)
    assert machine.state(Key("file", "/etc/x.d/90.conf")) == Entry("file", 5, 0, 0o644, b"[Service]\nTheirs=1\n")
    assert machine.state(Key("file", "/etc/x.d/91.conf")) is None
    assert result.lasting == ("x.directory: /etc/x.d/ holds 90.conf",)


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_others_removed_needs_no_undo(paths: StatePaths, machine: SimulatedMachine, force: bool) -> None:
    run = recorded(paths, machine, [("x.file", WriteFile("/etc/x.conf", b"A=1\n"))])
    machine.set_state(Key("file", "/etc/x.conf"), None)
    undone(paths, machine, run, force=force)
    assert content(machine, "/etc/x.conf") is None


def test_files_recreated_by_others_are_kept(paths: StatePaths, machine: SimulatedMachine) -> None:
    put(machine, "/etc/x.conf", b"old\n")
    run = recorded(paths, machine, [("x.file", RemovePath("/etc/x.conf"))])
    put(machine, "/etc/x.conf", b"theirs\n")
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert content(machine, "/etc/x.conf") == b"theirs\n"


def test_a_link_in_place_of_our_file_is_left(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(
        paths, machine, [("x.file", WriteFile("/etc/x.conf", b"A=1\n")), ("x.l", MakeLink("/etc/l", "/x"))]
    )
    link = Entry("link", 0, 0, 0o777, target="/dev/null")
    machine.set_state(Key("file", "/etc/x.conf"), link)
    machine.set_state(Key("file", "/etc/l"), link)
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert machine.state(Key("file", "/etc/x.conf")) == link
    assert machine.state(Key("file", "/etc/l")) == link


def test_an_account_is_removed_whatever_others_changed_of_it(paths: StatePaths, machine: SimulatedMachine) -> None:
    before = machine.snapshot()
    run = recorded(paths, machine, ACCOUNT)
    machine.set_state(Key("user", "bai"), Account("bai", 1100, 1100, "theirs", HOME, "/bin/zsh"))
    machine.set_state(Key("password", "bai"), Password(Secret("$6$theirs")))
    machine.set_state(Key("member", "docker:alice"), Membership())
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.OK
    assert machine.snapshot() == before | {Key("member", "docker:alice"): Membership()}


def test_an_account_with_another_uid_is_not_ours(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, ACCOUNT)
    machine.set_state(Key("user", "bai"), Account("bai", 1200, 1100, "", HOME, "/bin/bash"))
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert machine.state(Key("user", "bai")) is not None


def test_an_account_stays_while_its_home_does(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, ACCOUNT)
    put(machine, f"{HOME}/data", b"theirs")
    planned, result = undone(paths, machine, run)
    assert result.code() is ExitCode.OK
    assert machine.state(Key("user", "bai")) is not None
    assert machine.state(Key("group", "bai")) is not None
    assert machine.state(Key("member", "docker:bai")) is None
    assert any("account bai still has files" in text for text in planned.lasting)
    machine.set_state(Key("file", f"{HOME}/data"), None)
    undone(paths, machine, run)
    assert machine.state(Key("user", "bai")) is None
    assert machine.state(Key("file", HOME)) is None


def test_force_removes_an_account_and_leaves_the_files_of_others(
    paths: StatePaths, machine: SimulatedMachine
) -> None:
    run = recorded(paths, machine, ACCOUNT)
    put(machine, f"{HOME}/data", b"theirs")
    undone(paths, machine, run, force=True)
    assert machine.state(Key("user", "bai")) is None
    assert content(machine, f"{HOME}/data") == b"theirs"


@pytest.mark.parametrize("force", [False, True])
def test_a_busy_account_keeps_its_home(paths: StatePaths, machine: SimulatedMachine, force: bool) -> None:
    run = recorded(paths, machine, ACCOUNT)
    machine.environment = replace(machine.environment, refused={RemoveUser("bai"): "bai runs sleep (7)"})
    planned, result = undone(paths, machine, run, force=force)
    assert result.code() is ExitCode.FAILED
    assert any("bai runs sleep (7)" in text for text in planned.conflicts)
    assert content(machine, f"{HOME}/.bashrc") == b"skel\n"
    assert machine.state(Key("group", "bai")) is not None
    machine.environment = replace(machine.environment, refused={})
    undone(paths, machine, run, force=force)
    assert machine.state(Key("file", HOME)) is None


def test_a_group_with_other_members_stays(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, ACCOUNT)
    machine.set_state(Key("member", "bai:alice"), Membership())
    _, result = undone(paths, machine, run)
    assert result.lasting == ("account.user: group bai has the members alice",)
    assert machine.state(Key("group", "bai")) is not None
    assert machine.state(Key("user", "bai")) is None


@pytest.mark.parametrize("force", [False, True])
def test_a_busy_volume_keeps_its_line(paths: StatePaths, machine: SimulatedMachine, force: bool) -> None:
    run = recorded(paths, machine, VOLUME)
    unmount = SetMount("/vfroot/x", mounted=False)
    machine.environment = replace(machine.environment, refused={unmount: "/vfroot/x is in use by python3 (7)"})
    _, result = undone(paths, machine, run, force=force)
    assert result.code() is ExitCode.FAILED
    assert content(machine, "/etc/fstab") == FSTAB
    assert machine.state(Key("mount", "/vfroot/x")) is not None
    assert machine.state(Key("file", "/vfroot/x")) is not None


def test_a_volume_stays_mounted_while_its_line_stays(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, VOLUME)
    put(machine, "/etc/fstab", FSTAB.replace(b"nfs defaults", b"nfs ro"))
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert machine.state(Key("mount", "/vfroot/x")) is not None
    undone(paths, machine, run, force=True)
    assert machine.state(Key("mount", "/vfroot/x")) is None
    assert content(machine, "/etc/fstab") == b"/dev/sda1 / ext4 defaults 0 1\n"


def test_a_line_of_others_does_not_keep_a_volume(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, VOLUME)
    put(machine, "/etc/fstab", FSTAB.replace(b"# END", b"nas:/y /data nfs defaults 0 0\n# END"))
    undone(paths, machine, run)
    assert machine.state(Key("mount", "/vfroot/x")) is None
    assert content(machine, "/etc/fstab") == b"/dev/sda1 / ext4 defaults 0 1\nnas:/y /data nfs defaults 0 0\n"


def test_resources_named_by_a_kept_entry_are_kept(paths: StatePaths, machine: SimulatedMachine) -> None:
    source = b"Types: deb\nURIs: http://x\nSuites: y\nSigned-By: /etc/key.asc\n"
    operations = [
        ("docker.key", WriteFile("/etc/key.asc", b"key")),
        ("docker.source", WriteFile("/etc/d.sources", source)),
    ]
    run = recorded(paths, machine, operations)
    put(machine, "/etc/d.sources", source + b"Enabled: no\n")
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert content(machine, "/etc/key.asc") == b"key"
    undone(paths, machine, run, force=True)
    assert content(machine, "/etc/key.asc") is None
    assert content(machine, "/etc/d.sources") == b"# Enabled: no\n"


@pytest.mark.parametrize("active", ["active", "inactive", "failed"])
def test_a_side_of_a_unit_that_we_did_not_change_stays(
    paths: StatePaths, machine: SimulatedMachine, active: str
) -> None:
    run = recorded(paths, machine, [("x.unit", SetUnit("x.service", True, True))])
    machine.set_state(Key("unit", "x.service"), Unit("enabled", active))
    undone(paths, machine, run)
    assert machine.state(Key("unit", "x.service")) == Unit("disabled", active)


def test_a_masked_unit_is_a_conflict(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, [("x.unit", SetUnit("x.service", True, True))])
    machine.set_state(Key("unit", "x.service"), Unit("masked", "inactive"))
    _, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED


def test_each_image_is_undone_separately(paths: StatePaths, machine: SimulatedMachine) -> None:
    run = recorded(paths, machine, [("images.pull", PullImages(("a:1", "b:1", "c:1", "d:1")))])
    machine.set_state(image_key("a:1"), Image("sha256:theirs"))
    machine.set_state(image_key("b:1"), None)
    machine.environment = replace(machine.environment, refused={RemoveImages(("c:1",)): "c:1 is used by web"})
    _, result = undone(paths, machine, run)
    assert "a:1 was changed since" in result.steps[0].text
    assert "c:1 is used by web" in result.steps[0].text
    left = [name for name in ("a:1", "b:1", "c:1", "d:1") if machine.state(image_key(name)) is not None]
    assert left == ["a:1", "c:1"]


def test_each_hold_is_undone_separately(paths: StatePaths, machine: SimulatedMachine) -> None:
    for name, held in (("x", False), ("y", True), ("z", False)):
        machine.set_state(package_key(name), Package("1", held))
    run = recorded(paths, machine, [("docker.hold", HoldPackages(("x", "y", "z")))])
    machine.set_state(package_key("x"), Package("2", True))
    machine.set_state(package_key("z"), None)
    undone(paths, machine, run)
    assert machine.state(package_key("x")) == Package("2", False)
    assert machine.state(package_key("y")) == Package("1", True)


def test_everything_under_a_busy_volume_is_kept(paths: StatePaths, machine: SimulatedMachine) -> None:
    before = machine.snapshot()
    guard: tuple[tuple[str, Operation], ...] = (
        *VOLUME[:2],
        ("storage.guard", SetImmutable("/vfroot/x")),
        *VOLUME[2:],
    )
    run = recorded(paths, machine, guard)
    unmount = SetMount("/vfroot/x", mounted=False)
    hidden = machine.state(Key("immutable", "/vfroot/x"))
    machine.set_state(Key("immutable", "/vfroot/x"), None)
    machine.environment = replace(machine.environment, refused={unmount: "/vfroot/x is in use by python3 (7)"})
    undone(paths, machine, run)
    machine.environment = replace(machine.environment, refused={})
    machine.set_state(Key("immutable", "/vfroot/x"), hidden)
    undone(paths, machine, run)
    assert machine.snapshot() == before


PYTHON = f"{HOME}/.static-python/versions/3.13.7"
ENVIRONMENT: tuple[tuple[str, Operation], ...] = (
    *ACCOUNT,
    ("python.places", MakeDirectory(f"{HOME}/.static-python", 1100, 1100)),
    ("python.places", MakeDirectory(f"{HOME}/.static-python/versions", 1100, 1100)),
    ("python.interpreter", InstallPython(PYTHON, "3.13.7", "x", "{}", "/m", "bai")),
    ("python.venvs", MakeDirectory(f"{HOME}/agent", 1100, 1100)),
    ("python.venvs", MakeVenv(f"{HOME}/agent/.venv", PYTHON, "3.13.7", ("pip",), "bai")),
)


def test_an_environment_that_others_use_keeps_its_python_and_its_account(
    paths: StatePaths, machine: SimulatedMachine
) -> None:
    before = machine.snapshot()
    run = recorded(paths, machine, ENVIRONMENT)
    made = machine.state(tree_key(f"{HOME}/agent/.venv"))
    machine.set_state(tree_key(f"{HOME}/agent/.venv"), Tree("a package more"))
    planned, result = undone(paths, machine, run)
    assert result.code() is ExitCode.FAILED
    assert any("is the Python of" in text for text in planned.conflicts)
    assert machine.state(tree_key(PYTHON)) is not None
    assert machine.state(Key("user", "bai")) is not None
    machine.set_state(tree_key(f"{HOME}/agent/.venv"), made)
    undone(paths, machine, run)
    assert machine.snapshot() == before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("location", ["work", "work/.venv", ".pyenv/versions/3.13.7/envs/work"])
def test_an_environment_of_others_keeps_its_python(
    paths: StatePaths, machine: SimulatedMachine, location: str, force: bool
) -> None:
    """Wherever the removal itself would find it."""
    run = recorded(paths, machine, ENVIRONMENT)
    theirs = f"{HOME}/{location}"
    machine.set_state(tree_key(theirs), Tree("theirs"))
    machine.set_state(venv_key(theirs), Venv("3.13.7", f"{PYTHON}/bin"))
    planned, _ = undone(paths, machine, run, force=force)
    assert any(f"is the Python of {theirs}" in text for text in planned.conflicts)
    assert machine.state(tree_key(PYTHON)) is not None


@pytest.mark.parametrize("number", range(0, 60, 4))
def test_an_interrupted_undo_ends_like_an_uninterrupted_one(paths: StatePaths, number: int) -> None:
    """With edits of others in every file, and the power gone at any instant of the undo."""
    ends = []
    for cut in (None, number):
        machine = SimulatedMachine(BASE)
        run = recorded(paths, machine, [*ACCOUNT, *VOLUME, ("aliases.block", WriteFile("/etc/hosts", HOSTS))])
        put(machine, "/etc/hosts", HOSTS.replace(b"10.0.0.2 storage", b"# theirs") + b"192.0.2.7 printer")
        put(machine, "/etc/fstab", FSTAB + b"tmpfs /mnt tmpfs defaults 0 0\n", mode=0o600)
        put(machine, f"{HOME}/.bashrc", b"theirs\nskel\n")
        if cut is not None:
            plan = Plan("test")
            undo = create_run(paths, plan, {}, kind="undo", undoes=run.id)
            with suppress(PowerCut):
                execute(paths, undo, plan.digest(), machine, checkpoint=cut_at(cut))
        undone(paths, machine, run)
        ends.append(machine.snapshot())
    assert ends[0] == ends[1]
    entry = ends[0][Key("file", "/etc/hosts")]
    assert isinstance(entry, Entry)
    assert entry.content == b"127.0.0.1 localhost\n# theirs\n192.0.2.7 printer"


def test_the_older_run_is_undone_below_the_newer_one(paths: StatePaths, machine: SimulatedMachine) -> None:
    before = machine.snapshot()
    one = HOSTS.replace(b"10.0.0.2 storage\n", b"")
    first = recorded(paths, machine, [("a.block", WriteFile("/etc/hosts", one))])
    second = recorded(paths, machine, [("a.block", WriteFile("/etc/hosts", HOSTS))])
    undone(paths, machine, first)
    assert content(machine, "/etc/hosts") == HOSTS.replace(b"10.0.0.1 manager\n", b"")
    undone(paths, machine, second)
    assert machine.snapshot() == before


class Cut(BaseException):
    """The executor is killed."""


def test_the_plan_of_an_interrupted_run_changes_nothing(paths: StatePaths, machine: SimulatedMachine) -> None:
    """Not the node, and not a byte of the state directory; the undo then does what was shown."""
    before = machine.snapshot()
    plan = Plan("test")
    run = create_run(paths, plan, {})
    journal = journal_of(run)

    def cut(name: str) -> None:
        if name == "after change":
            raise Cut

    JournalledNode(machine, journal, "a.block", silent).do(WriteFile("/etc/hosts", HOSTS))
    for step, operation in ACCOUNT[:2]:
        with suppress(Cut):
            JournalledNode(machine, journal, step, silent, cut).do(operation)
    journal.close()
    files = {path: path.read_bytes() for path in paths.runs.rglob("*") if path.is_file()}
    half = machine.snapshot()
    planned = plan_undo(run, machine)
    assert len(planned.recovered) == 2
    assert machine.snapshot() == half
    assert {path: path.read_bytes() for path in paths.runs.rglob("*") if path.is_file()} == files
    undone(paths, machine, run)
    assert machine.snapshot() == before


DAEMON_BEFORE, DAEMON = b'{\n  "data-root": "/d"\n}\n', b'{\n  "data-root": "/d",\n  "debug": true\n}\n'


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("edit", "left"),
    [
        (lambda data: data.replace(b"true", b'true, "theirs": 1,'), b'{\n  "data-root": "/d",\n  "theirs": 1,\n}\n'),
        (lambda data: b"// theirs\n" + data, b'// theirs\n{\n  "data-root": "/d"\n}\n'),
    ],
)
def test_docker_is_not_restarted_with_a_configuration_that_others_made_invalid(
    paths: StatePaths, edit: Callable[[bytes], bytes], left: bytes, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without force, the file is left alone and shown; with force, only what is ours goes. Containers run on."""
    states: dict[Key, State] = {
        Key("file", "/etc/docker"): Entry("directory", 0, 0, 0o755),
        Key("file", DAEMON_JSON): Entry("file", 0, 0, 0o644, DAEMON_BEFORE),
        Key("unit", "docker.service"): Unit("enabled", "active"),
    }
    machine = SimulatedMachine({**BASE, **states})
    run = recorded(
        paths,
        machine,
        [
            ("docker.config", WriteFile(DAEMON_JSON, DAEMON)),
            ("docker.restart", RestartUnit("docker.service", "daemon.json changed")),
        ],
    )
    put(machine, DAEMON_JSON, edit(DAEMON))
    performed: list[Operation] = []
    perform = machine.apply

    def watched(operation: Operation, log: Log = silent) -> None:
        performed.append(operation)
        perform(operation, log)

    monkeypatch.setattr(machine, "apply", watched)
    planned, result = undone(paths, machine, run, force=force)
    assert result.code() is ExitCode.FAILED
    assert content(machine, DAEMON_JSON) == (left if force else edit(DAEMON))
    assert not any(isinstance(each, RestartUnit) for each in performed)
    (message,) = [each for each in planned.conflicts if "docker.service is not restarted" in each]
    assert f"{DAEMON_JSON} is not valid JSON" in message
    shown = [each for each in planned.conflicts if f"+++ {DAEMON_JSON}" in each]
    assert bool(shown) is not force
    assert force or "theirs" in shown[0]
    put(machine, DAEMON_JSON, DAEMON_BEFORE)
    assert undone(paths, machine, run, force=force)[1].code() is ExitCode.OK
    assert isinstance(performed[-1], RestartUnit)


@pytest.mark.parametrize(
    ("path", "ours", "theirs"),
    [
        ("/etc/sudoers.d/bai", b"#1100 ALL=(ALL) ALL\n", b"#1100 ALL=(ALL) NOPASSWD: ALL\n"),
        ("/etc/security/limits.d/bai.conf", b"bai soft nofile 9\n", b"bai soft nofile 99\n"),
    ],
)
def test_a_rule_that_outlives_its_account_is_named_as_one(
    paths: StatePaths, path: str, ours: bytes, theirs: bytes
) -> None:
    machine = SimulatedMachine({**BASE, Key("file", path.rpartition("/")[0]): Entry("directory", 0, 0, 0o755)})
    run = recorded(paths, machine, [*ACCOUNT[:2], ("account.rule", WriteFile(path, ours))])
    put(machine, path, theirs)
    planned, result = undone(paths, machine, run)
    assert machine.state(Key("user", "bai")) is None
    assert content(machine, path) == theirs
    assert result.code() is ExitCode.FAILED
    (message,) = planned.conflicts
    assert theirs.decode().strip() in message
    assert "it is for bai (UID 1100), whose account is removed" in message
    assert "delete the line" in message


def test_a_rule_for_others_is_not_attributed_to_the_account(paths: StatePaths) -> None:
    path = "/etc/sudoers.d/bai"
    machine = SimulatedMachine({**BASE, Key("file", "/etc/sudoers.d"): Entry("directory", 0, 0, 0o755)})
    run = recorded(paths, machine, [*ACCOUNT[:2], ("account.rule", WriteFile(path, b"X = 1100 bai ALL\n"))])
    put(machine, path, b"X = 1100 bai ALL, theirs\n")
    (message,) = undone(paths, machine, run)[0].conflicts
    assert "whose account is removed" not in message
