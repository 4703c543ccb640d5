"""Every kind of operation: what it predicts, what it shows, and what undoes it, for each kind of state before it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from bai_wizard.core.operation import Change, Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import (
    DPKG_KEY,
    LISTS_KEY,
    UNPREDICTABLE,
    Account,
    Download,
    Entry,
    Flag,
    Group,
    Image,
    Interpreter,
    Key,
    Membership,
    Mount,
    Package,
    Password,
    State,
    Sysctl,
    Tree,
    Unfinished,
    Unit,
    Venv,
    image_key,
    package_key,
)
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.downloads import DropDownload, FetchFile
from bai_wizard.resources.files import MakeDirectory, MakeLink, RemovePath, SetImmutable, WriteFile
from bai_wizard.resources.images import LoadImages, PullImages, RemoveImages, TagImage
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.packages import (
    CompletePackages,
    HoldPackages,
    InstallPackages,
    RefreshPackages,
    RemovePackages,
)
from bai_wizard.resources.pythons import (
    BuildPython,
    InstallDistributions,
    InstallPython,
    MakeVenv,
    RemovePython,
    RepairVenv,
    RestorePython,
)
from bai_wizard.resources.sysctl import SetSysctl
from bai_wizard.resources.trees import CloneRepository, GiveTree, RemoveTree
from bai_wizard.resources.units import ReloadUnits, RestartUnit, SetUnit
from bai_wizard.resources.users import (
    AddGroup,
    AddMember,
    AddUser,
    RemoveGroup,
    RemoveMember,
    RemoveUser,
    SetPassword,
)
from bai_wizard.steps import load_all

AS_BEFORE = object()


class Row(NamedTuple):
    """`before` and `after` are the states of the operation's keys, in their order; `shown` the lines of its changes.

    `shown` is empty if it changes nothing. `stays` is why an undo leaves it.
    """

    operation: Operation
    before: tuple[State | None, ...]
    after: tuple[object, ...] | object
    shown: tuple[str, ...]
    inverse: Operation | None = None
    stays: str = ""


FILE = Entry("file", 0, 0, 0o644, b"old\n")
DIRECTORY = Entry("directory", 1100, 1100, 0o750)
LINK = Entry("link", 5, 6, 0o777, target="/there")
BAI = Account("bai", 1100, 1100, "Backend.AI", "/home/bai", "/bin/bash")
HASH, OTHER = Secret("$y$one"), Secret("$y$other")
HOSTS, UNIT = "/etc/x", "a"
OFF, ON = Unit("disabled", "inactive"), Unit("enabled", "active")
NFS = Mount("srv:/a", "nfs4", "rw,hard")
V1 = Package("1.0")
TREE = Tree("a" * 64)
VENV = "/home/bai/v"
PYTHON = "/home/bai/python"

WRITE = WriteFile(HOSTS, b"new\n", 0, 0, 0o600)
ADD_USER = AddUser("bai", 1100, 1100, "Backend.AI", "/home/bai", "/bin/bash")
MOUNT = SetMount("/vfroot/a", True, "srv:/a", "nfs4")
CLONE = CloneRepository("/home/bai/.pyenv", "https://git.invalid/pyenv", "bai")
INSTALL = InstallPackages(("a", "b"), ("", "2.*"), (f"unit:{UNIT}",))
COMMAND = RunCommand(
    ("tool", "-x"), "rebuild it", "bai", "/tmp", (("A", "b"),), touches=("/etc/y",), undo=("tool", "-u")
)
PULL = PullImages(("a:1", "b:1"), "linux/amd64", remarks=("for a", "for b"))

ROWS = {
    "write, new": Row(
        WRITE, (None,), (Entry("file", 0, 0, 0o600, b"new\n"),),
        ("create /etc/x: None -> 'new\\n' [0:0 0600]",), RemovePath(HOSTS),
    ),
    "write, content and mode": Row(
        WRITE, (FILE,), (Entry("file", 0, 0, 0o600, b"new\n"),),
        ("modify /etc/x: 'old\\n' -> 'new\\n' [0:0 0644 → 0:0 0600]",),
        WriteFile(HOSTS, b"old\n", 0, 0, 0o644),
    ),
    "write, mode alone": Row(
        WriteFile(HOSTS, b"old\n", 0, 0, 0o600), (FILE,), (Entry("file", 0, 0, 0o600, b"old\n"),),
        ("modify /etc/x [0:0 0644 → 0:0 0600]",),
        WriteFile(HOSTS, b"old\n", 0, 0, 0o644),
    ),
    "write, nothing": Row(
        WriteFile(HOSTS, b"old\n"), (FILE,), AS_BEFORE, (), WriteFile(HOSTS, b"old\n", 0, 0, 0o644)
    ),
    "write, over a link": Row(
        WRITE, (LINK,), (Entry("file", 0, 0, 0o600, b"new\n"),),
        (
            "modify /etc/x: 'link to /there' -> 'new\\n' "
            "[5:6 0777 → 0:0 0600]",
        ),
        MakeLink(HOSTS, "/there", 5, 6),
    ),
    "write, a secret": Row(
        WriteFile(HOSTS, b"new\n", secret=True), (FILE,), (Entry("file", 0, 0, 0o644, b"new\n"),),
        ("modify /etc/x <token>",), WriteFile(HOSTS, b"old\n", 0, 0, 0o644, secret=True),
    ),
    "directory, new": Row(
        MakeDirectory("/vfroot", 1100, 1100, 0o750), (None,), (DIRECTORY,),
        ("create /vfroot/ [1100:1100 0750] <token>",), RemovePath("/vfroot"),
    ),
    "directory, other mode": Row(
        MakeDirectory("/vfroot"), (DIRECTORY,), (Entry("directory", 0, 0, 0o755),),
        ("modify /vfroot/ [1100:1100 0750 → 0:0 0755]",),
        MakeDirectory("/vfroot", 1100, 1100, 0o750),
    ),
    "link, new": Row(
        MakeLink("/l", "/there", 5, 6), (None,), (LINK,),
        ("create /l: None -> 'link to /there' [5:6 0777]",), RemovePath("/l"),
    ),
    "remove": Row(
        RemovePath(HOSTS), (FILE,), (None,), ("remove /etc/x: 'old\\n' -> None",),
        WriteFile(HOSTS, b"old\n", 0, 0, 0o644),
    ),
    "remove, nothing": Row(RemovePath(HOSTS), (None,), AS_BEFORE, (), RemovePath(HOSTS)),
    "remove, content unknown": Row(
        RemovePath(HOSTS), (Entry("file", 0, 0, 0o644),), (None,), ("remove /etc/x <token>",), None
    ),
    "immutable": Row(
        SetImmutable("/vfroot/a"), (None,), (Flag(),), ("create /vfroot/a (immutable attribute)",),
        SetImmutable("/vfroot/a", immutable=False),
    ),
    "immutable, no longer": Row(
        SetImmutable("/vfroot/a", immutable=False), (Flag(),), (None,), ("remove /vfroot/a (immutable attribute)",),
        SetImmutable("/vfroot/a", immutable=True),
    ),
    "group": Row(
        AddGroup("bai", 1100), (None,), (Group("bai", 1100),), ("create group bai [gid 1100]",), RemoveGroup("bai")
    ),
    "group, exists": Row(AddGroup("bai", 1100), (Group("bai", 1100),), AS_BEFORE, (), None),
    "group, removed": Row(
        RemoveGroup("bai"), (Group("bai", 1100),), (None,), ("remove group bai",), AddGroup("bai", 1100)
    ),
    "group, gone": Row(RemoveGroup("bai"), (None,), AS_BEFORE, (), None),
    "user": Row(
        ADD_USER, (None,), (BAI,), ("create user bai [uid 1100 gid 1100 home /home/bai shell /bin/bash]",),
        RemoveUser("bai"),
    ),
    "user, exists": Row(ADD_USER, (BAI,), AS_BEFORE, (), None),
    "user, removed": Row(
        RemoveUser("bai"), (BAI, Membership()), (None, Membership()), ("remove user bai",), ADD_USER
    ),
    "user, removed with its group": Row(
        RemoveUser("bai", with_group=True), (BAI, Group("bai", 1100)), (None, None),
        ("remove user bai", "remove group bai"), ADD_USER,
    ),
    "user, gone": Row(RemoveUser("bai"), (None, None), AS_BEFORE, (), None),
    "member": Row(
        AddMember("bai", "docker"), (None,), (Membership(),), ("modify add bai to group docker",),
        RemoveMember("bai", "docker"),
    ),
    "member already": Row(AddMember("bai", "docker"), (Membership(),), AS_BEFORE, (), None),
    "member, removed": Row(
        RemoveMember("bai", "docker"), (Membership(),), (None,), ("modify remove bai from group docker",),
        AddMember("bai", "docker"),
    ),
    "no member": Row(RemoveMember("bai", "docker"), (None,), AS_BEFORE, (), None),
    "password": Row(
        SetPassword("bai", HASH), (Password(OTHER, 7),), (Password(HASH),), ("modify password of bai [set] <token>",),
        SetPassword("bai", OTHER, 7),
    ),
    "password, the same": Row(
        SetPassword("bai", HASH), (Password(HASH, 7),), AS_BEFORE, (), SetPassword("bai", HASH, 7)
    ),
    "password, none before": Row(
        SetPassword("bai", HASH), (None,), (Password(HASH),), ("modify password of bai [set] <token>",), None
    ),
    "password, locked": Row(
        SetPassword("bai", Secret("!x")), (Password(HASH, 7),), (Password(Secret("!x")),),
        ("modify password of bai [locked] <token>",), SetPassword("bai", HASH, 7),
    ),
    "sysctl": Row(
        SetSysctl("vm.x", "2"), (Sysctl("1", False),), (Sysctl("2", False),), ("modify vm.x: '1' -> '2' [live]",),
        SetSysctl("vm.x", "1"),
    ),
    "sysctl, no such key": Row(
        SetSysctl("vm.x", "2"), (None,), (Sysctl("2"),), ("modify vm.x: None -> '2' [live]",), None
    ),
    "unit": Row(
        SetUnit(UNIT, True, True), (OFF,), (ON,), ("modify unit a [enabled and started]",),
        SetUnit(UNIT, False, False),
    ),
    "unit, started": Row(
        SetUnit(UNIT, active=True), (OFF,), (Unit("disabled", "active"),), ("modify unit a [started]",),
        SetUnit(UNIT, None, False),
    ),
    "unit, stopped": Row(
        SetUnit(UNIT, active=False), (ON,), (Unit("enabled", "inactive"),), ("modify unit a [stopped]",),
        SetUnit(UNIT, None, True),
    ),
    "unit, enabled": Row(
        SetUnit(UNIT, enabled=True), (OFF,), (Unit("enabled", "inactive"),), ("modify unit a [enabled]",),
        SetUnit(UNIT, False, None),
    ),
    "unit, disabled": Row(
        SetUnit(UNIT, enabled=False), (ON,), (Unit("disabled", "active"),),
        ("modify unit a [disabled]",), SetUnit(UNIT, True, None),
    ),
    "unit, disabled and stopped": Row(
        SetUnit(UNIT, False, False), (ON,), (OFF,), ("modify unit a [disabled and stopped]",),
        SetUnit(UNIT, True, True),
    ),
    "unit, enabled and stopped": Row(
        SetUnit(UNIT, True, False), (Unit("disabled", "active"),), (Unit("enabled", "inactive"),),
        ("modify unit a [changed]",), SetUnit(UNIT, False, True),
    ),
    "unit, static": Row(
        SetUnit(UNIT, True, True), (Unit("static", "active"),), AS_BEFORE, (), SetUnit(UNIT, False, True)
    ),
    "unit, alias": Row(
        SetUnit(UNIT, enabled=True), (Unit("alias", "active"),), AS_BEFORE, (),
        SetUnit(UNIT, False, None),
    ),
    "unit, absent": Row(
        SetUnit(UNIT, True, True), (None,), (UNPREDICTABLE,), ("modify unit a [enabled and started]",),
    ),
    "restart": Row(
        RestartUnit(UNIT, "new file"), (None,), (UNPREDICTABLE,), ("run restart a [new file]",),
        RestartUnit(UNIT, "its files were restored"),
    ),
    "reload": Row(
        ReloadUnits("new unit"), (None,), (UNPREDICTABLE,), ("run reload systemd's unit files [new unit]",),
        ReloadUnits("its files were restored"),
    ),
    "mount": Row(
        MOUNT, (None,), (Mount("srv:/a", "nfs4"),), ("create mount /vfroot/a [nfs4 srv:/a]",),
        SetMount("/vfroot/a", mounted=False),
    ),
    "mount, other source": Row(
        SetMount("/vfroot/a", True, "srv:/b", "nfs4"), (NFS,), (Mount("srv:/b", "nfs4"),),
        ("modify mount /vfroot/a [nfs4 srv:/b]",), MOUNT,
    ),
    "mount, other type": Row(
        SetMount("/vfroot/a", True, "srv:/a", "nfs"), (NFS,), (Mount("srv:/a", "nfs"),),
        ("modify mount /vfroot/a [nfs srv:/a]",), MOUNT,
    ),
    "mount, mounted": Row(MOUNT, (NFS,), AS_BEFORE, (), MOUNT),
    "mount, automount point": Row(
        MOUNT, (Mount("systemd-1", "autofs"),), (Mount("srv:/a", "nfs4"),), ("modify mount /vfroot/a [nfs4 srv:/a]",),
        SetMount("/vfroot/a", mounted=False),
    ),
    "unmount": Row(SetMount("/vfroot/a", False), (NFS,), (None,), ("remove mount /vfroot/a",), MOUNT),
    "packages": Row(
        INSTALL, (None, V1, None), (Package(""), Package(""), UNPREDICTABLE),
        ("create package a", "modify package b [2.*]"), stays="packages stay installed: a b",
    ),
    "packages, installed": Row(
        INSTALL, (V1, Package("2.5"), None), AS_BEFORE, (), stays="packages stay installed: a b"
    ),
    "packages, an exact version": Row(
        InstallPackages(("a",), ("2.0",)), (V1,), (Package("2.0"),), ("modify package a [2.0]",),
        stays="packages stay installed: a",
    ),
    "packages, whose unit exists": Row(
        INSTALL, (None, Package("2.5"), ON), (Package(""), Package("2.5"), ON), ("create package a",),
        stays="packages stay installed: a b",
    ),
    "packages, removed": Row(
        RemovePackages(("a", "b")), (V1, None), (None, None), ("remove package a",),
        InstallPackages(("a",), ("1.0",)),
    ),
    "packages, replaced": Row(
        RemovePackages(("a",), for_good=True), (V1,), (None,), ("remove package a",), None, "packages stay removed: a"
    ),
    "packages, gone": Row(RemovePackages(("a",)), (None,), AS_BEFORE, (), None),
    "package lists": Row(
        RefreshPackages("a new source"), (None,), (Flag(),), ("run package lists [a new source]",), None
    ),
    "hold": Row(
        HoldPackages(("a",)), (V1,), (Package("1.0", True),), ("modify package a [held]",),
        HoldPackages(("a",), held=False),
    ),
    "hold, released": Row(
        HoldPackages(("a",), held=False), (Package("1.0", True),), (V1,), ("modify package a [no longer held]",),
        HoldPackages(("a",), held=True),
    ),
    "hold, nothing": Row(HoldPackages(("a",)), (Package("1.0", True),), AS_BEFORE, (), HoldPackages(("a",), False)),
    "hold, absent": Row(
        HoldPackages(("a",)), (None,), (UNPREDICTABLE,), ("modify package a [held]",), HoldPackages(("a",), False)
    ),
    "dpkg": Row(
        CompletePackages(("a",)), (Unfinished(("a",)), None), (None, UNPREDICTABLE),
        ("run complete interrupted package configuration [dpkg --configure -a]",),
        stays="interrupted package operations stay completed: a",
    ),
    "download": Row(
        FetchFile("https://m.invalid/a", "/var/a", "c" * 64), (None,), (Download("c" * 64),),
        (f"create /var/a [from https://m.invalid/a, sha256 {'c' * 12}…]",), DropDownload("/var/a"),
    ),
    "download, there": Row(
        FetchFile("https://m.invalid/a", "/var/a", "c" * 64), (Download("c" * 64),), AS_BEFORE, (),
        DropDownload("/var/a"),
    ),
    "download, dropped": Row(DropDownload("/var/a"), (Download("c" * 64),), (None,), ("remove /var/a",), None),
    "command": Row(
        COMMAND, (None, FILE), (UNPREDICTABLE, UNPREDICTABLE), ("run rebuild it [tool -x]",),
        RunCommand(("tool", "-u"), "undo: rebuild it", "bai", "/tmp", (("A", "b"),)),
    ),
    "command that stays": Row(
        RunCommand(("tool",), "do it", stays="it stays done"), (None,), (UNPREDICTABLE,), ("run do it [tool]",), None,
        "it stays done",
    ),
    "clone": Row(
        CLONE, (None, None), (UNPREDICTABLE, None), ("create /home/bai/.pyenv/ [from https://git.invalid/pyenv]",),
        RemoveTree("/home/bai/.pyenv"),
    ),
    "clone, what was interrupted": Row(
        CLONE, (None, TREE), (UNPREDICTABLE, None), ("create /home/bai/.pyenv/ [from https://git.invalid/pyenv]",),
        RemoveTree("/home/bai/.pyenv"),
    ),
    "tree, removed": Row(
        RemoveTree("/t/a"), (TREE, TREE, None), (None, None, None), ("remove /t/a/", "remove /t/.bai-wizard.a/"), None
    ),
    "give": Row(
        GiveTree(HOSTS, 1100, 1200), (FILE,), (Entry("file", 1100, 1200, 0o644, b"old\n"),),
        (
            "modify /etc/x [0:0 0644 → 1100:1200 0644, "
            "with all its content that root owns]",
        ),
        stays="/etc/x keeps its new owner",
    ),
    "give, this alone": Row(
        GiveTree(HOSTS, 1100, 1200, recursive=False), (FILE,), (Entry("file", 1100, 1200, 0o644, b"old\n"),),
        ("modify /etc/x [0:0 0644 → 1100:1200 0644]",),
        stays="/etc/x keeps its new owner",
    ),
    "give, another's": Row(
        GiveTree(HOSTS, 1100, 1100), (Entry("file", 7, 7, 0o644, b""),), AS_BEFORE, (),
        stays="/etc/x keeps its new owner",
    ),
    "python": Row(
        InstallPython(PYTHON, "3.12.3", "cpython", "{}", "/m", "bai"), (None, None, None),
        (Interpreter("3.12.3"), UNPREDICTABLE, None), (f"create {PYTHON}/ [Python 3.12.3 (cpython)]",),
        RemovePython(PYTHON, "bai"),
    ),
    "python, restored": Row(
        RestorePython(PYTHON, "3.12.3", "cpython", "{}", "/m", "bai", "files are missing"), (None,), (UNPREDICTABLE,),
        (f"run restore {PYTHON}/ [Python 3.12.3: files are missing]",), None, f"{PYTHON} stays restored",
    ),
    "python, built": Row(
        BuildPython("/p", "3.12.3", "bai"), (None, None), (Interpreter("3.12.3"), UNPREDICTABLE),
        ("create /p/versions/3.12.3/ [Python 3.12.3, built by pyenv]",), RemovePython("/p/versions/3.12.3", "bai"),
    ),
    "python, built again": Row(
        BuildPython("/p", "3.12.3", "bai"), (Interpreter(""), TREE), (Interpreter("3.12.3"), UNPREDICTABLE),
        ("create /p/versions/3.12.3/ [Python 3.12.3, built by pyenv]",), RemovePython("/p/versions/3.12.3", "bai"),
    ),
    "venv": Row(
        MakeVenv(VENV, PYTHON, "3.12.3", ("A_b==1.0", "c"), "bai"), (None, None, None, None, None),
        (Venv("3.12.3", f"{PYTHON}/bin"), V1, Package(""), UNPREDICTABLE, None),
        (f"create {VENV}/ [Python 3.12.3 with A_b==1.0, c]",), RemoveTree(VENV),
    ),
    "venv, relinked": Row(
        RepairVenv(VENV, PYTHON, "3.12.3", "bai"), (Venv("", "/gone", "it is broken"),),
        (Venv("3.12.3", f"{PYTHON}/bin"),), (f"modify {VENV}/ [relinked to {PYTHON}: it is broken]",), None,
        f"{VENV} stays linked to {PYTHON}",
    ),
    "venv, relinked without its Python": Row(
        RepairVenv(VENV, PYTHON, "3.12.3", "bai"), (Venv("", "/gone"),), (Venv("3.12.3", f"{PYTHON}/bin"),),
        (f"modify {VENV}/ [relinked to {PYTHON}: its Python is gone]",), None, f"{VENV} stays linked to {PYTHON}",
    ),
    "distributions": Row(
        InstallDistributions(VENV, ("a==2.0", "b", "c>=1"), "bai"), (V1, None, Package("1.5")),
        (Package("2.0"), Package(""), Package("1.5")),
        (f"modify a in {VENV}: '1.0' -> '2.0'", f"create b in {VENV}: None -> ''"), None,
        f"packages stay in {VENV}: a==2.0 b c>=1",
    ),
    "pull": Row(
        PULL, (None, Image("sha256:1", 5)), (Image(""), Image("sha256:1")), ("create image a:1 [for a]",),
        RemoveImages(("a:1",)),
    ),
    "pull, moved": Row(
        PULL, (Image("sha256:1"), Image("sha256:2", moved="other")), (Image("sha256:1"), Image("")),
        ("modify image b:1 [currently an image of other; for b]",), None,
    ),
    "load": Row(
        LoadImages(("a:1",), "/a.tar", "d" * 64), (None,), (Image(""),), ("create image a:1 [from /a.tar]",),
        RemoveImages(("a:1",)),
    ),
    "tag": Row(
        TagImage("b:1", "a:1"), (None, Image("sha256:1")), (Image("sha256:1"), Image("sha256:1")),
        ("create image b:1 [another tag of a:1]",), RemoveImages(("b:1",)),
    ),
    "tag, moved": Row(
        TagImage("b:1", "a:1"), (Image("sha256:2"), Image("sha256:1")), (Image("sha256:1"), Image("sha256:1")),
        ("modify image b:1 [another tag of a:1]",), None,
    ),
    "python, removed": Row(
        RemovePython(PYTHON, "bai"), (TREE, None, None), (None, None, None), (f"remove {PYTHON}/",), None
    ),
    "images, removed": Row(RemoveImages(("a:1",)), (Image("sha256:1"),), (None,), ("remove image a:1",), None),
}  # fmt: skip


def states(row: Row) -> dict[Key, State | None]:
    return dict(zip(row.operation.keys(), row.before, strict=True))


def line(change: Change) -> str:
    sides = f": {change.before!r} -> {change.after!r}" if (change.before, change.after) != (None, None) else ""
    attributes = f" [{change.attributes}]" if change.attributes else ""
    return f"{change.verb} {change.subject}{sides}{attributes}{' <token>' if change.token else ''}"


@pytest.mark.parametrize("name", ROWS)
def test_the_prediction_and_whether_it_holds_already(name: str) -> None:
    row, before = ROWS[name], states(ROWS[name])
    expected = row.before if row.after is AS_BEFORE else row.after
    assert tuple(row.operation.after(before).values()) == expected
    assert set(row.operation.after(before)) == set(before)
    assert row.operation.is_satisfied(before) == (row.after is AS_BEFORE)
    changed = [key for key, now in zip(before, expected, strict=True) if before[key] != now]
    assert list(row.operation.touched(before)) == changed


@pytest.mark.parametrize("name", ROWS)
def test_the_changes_that_are_shown(name: str) -> None:
    row = ROWS[name]
    changes = row.operation.changes(states(row))
    assert tuple(map(line, changes)) == row.shown
    assert {change.key for change in changes} <= set(row.operation.keys())


@pytest.mark.parametrize("name", ROWS)
def test_what_undoes_it(name: str) -> None:
    row = ROWS[name]
    assert row.operation.inverse(states(row)) == row.inverse
    assert row.operation.irreversible_reason() == row.stays


def test_every_kind_of_operation_is_in_the_table() -> None:
    load_all()
    assert {row.operation.kind for row in ROWS.values()} == set(Operation.kinds)


def test_secrets_are_told_apart_without_being_shown() -> None:
    one, other = (
        WriteFile(HOSTS, text, secret=True).changes({Key("file", HOSTS): FILE})[0].token for text in (b"1", b"2")
    )
    assert one != other
    one, other = (SetPassword("bai", each).changes({Key("password", "bai"): None})[0].token for each in (HASH, OTHER))
    assert one != other


def test_keys_of_packages_and_lists() -> None:
    assert RefreshPackages("x").keys() == (LISTS_KEY,)
    assert CompletePackages(("a",)).keys() == (DPKG_KEY, package_key("a"))
    assert INSTALL.keys() == (package_key("a"), package_key("b"), Key("unit", UNIT))
    assert PULL.keys() == (image_key("a:1"), image_key("b:1"))
