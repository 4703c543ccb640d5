"""Operations applied by the real tools below a root of plain files, and undone byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bai_wizard import resources
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry, Key, States
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import MakeDirectory, MakeLink, RemovePath, SetImmutable, WriteFile
from bai_wizard.resources.local import LocalMachine
from bai_wizard.resources.sysctl import SetSysctl
from bai_wizard.resources.units import SetUnit
from bai_wizard.resources.users import AddGroup, AddMember, AddUser, SetPassword
from tests.programs import find_programs_in

HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
DATABASES = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", "login.defs")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\nsudo:x:27:ubuntu\nubuntu:x:1000:\n")
    (etc / "shadow").write_text("root:*:20000:0:99999:7:::\nubuntu:$y$old$hash:19000:0:99999:7:::\n")
    (etc / "gshadow").write_text("root:*::\nsudo:*::ubuntu\nubuntu:!::\n")
    (etc / "subuid").write_text("ubuntu:100000:65536\n")
    (etc / "subgid").write_text("ubuntu:100000:65536\n")
    (etc / "login.defs").write_text("USERGROUPS_ENAB yes\nUID_MAX 60000\n")
    (etc / "shadow").chmod(0o640)
    return tmp_path


@pytest.fixture
def machine(node: Path) -> LocalMachine:
    return LocalMachine(str(node))


def state_of(node: Path) -> dict[str, bytes]:
    return {name: (node / "etc" / name).read_bytes() for name in DATABASES}


def do(machine: LocalMachine, operation: Operation) -> Operation | None:
    """Performs, checks the promise, and returns the way back."""
    before: States = {key: machine.state(key) for key in operation.keys()}
    machine.apply(operation)
    now = {key: machine.state(key) for key in operation.keys()}
    assert operation.is_satisfied(now)
    assert operation.after(before) == now
    return operation.inverse(before)


@pytest.mark.needs_root
def test_an_account_comes_and_goes_to_the_byte(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    wanted: tuple[Operation, ...] = (
        AddGroup("bai", 1100),
        AddUser("bai", 1100, 1100, "Backend.AI", "/home/bai", "/bin/bash"),
        AddMember("bai", "sudo"),
        SetPassword("bai", Secret(HASH)),
    )
    back = [do(machine, operation) for operation in wanted]
    assert f"bai:{HASH}:" in (node / "etc/shadow").read_text()
    assert not (node / "home").exists()
    for inverse in reversed(back):
        assert inverse is not None
        machine.apply(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
def test_a_user_goes_and_its_group_stays(machine: LocalMachine, node: Path) -> None:
    """userdel takes an empty group of the same name along; that group may have been there before us."""
    machine.apply(AddGroup("bai", 1100))
    before = state_of(node)
    inverse = do(machine, AddUser("bai", 1100, 1100, "", "/home/bai", "/bin/bash"))
    assert inverse is not None
    machine.apply(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
def test_a_password_and_its_day_come_back(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    inverse = do(machine, SetPassword("ubuntu", Secret(HASH)))
    assert state_of(node) != before
    assert inverse is not None
    machine.apply(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
@pytest.mark.parametrize("field", ["*", "!", "!*", ""])
def test_locked_and_empty_password_fields(machine: LocalMachine, node: Path, field: str) -> None:
    do(machine, SetPassword("ubuntu", Secret(field)))
    assert f"\nubuntu:{field}:" in (node / "etc/shadow").read_text()


@pytest.mark.needs_root
def test_an_id_in_use_is_explained(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    with pytest.raises(StepFailed, match=r"group bai was not added: .*1000.* exists"):
        machine.apply(AddGroup("bai", 1000))
    with pytest.raises(StepFailed, match="user bai was not added"):
        machine.apply(AddUser("bai", 1000, 1000, "", "/home/bai", "/bin/bash"))
    assert state_of(node) == before


@pytest.mark.needs_root
def test_no_hash_is_passed_as_an_argument(machine: LocalMachine, monkeypatch: pytest.MonkeyPatch, node: Path) -> None:
    spy = node / "bin"
    spy.mkdir()
    for tool in ("chpasswd", "usermod", "chage"):
        real = shutil.which(tool, path="/usr/sbin:/usr/bin")
        (spy / tool).write_text(f'#!/bin/sh\necho "$0 $@" >> {node}/seen\nenv >> {node}/seen\nexec {real} "$@"\n')
        (spy / tool).chmod(0o755)
    find_programs_in(spy, monkeypatch)
    inverse = do(machine, SetPassword("ubuntu", Secret(HASH)))
    assert inverse is not None
    machine.apply(inverse)
    seen = (node / "seen").read_text()
    assert "chpasswd" in seen
    assert HASH not in seen
    assert "$y$old" not in seen


def test_files_come_and_go(machine: LocalMachine, node: Path) -> None:
    uid, gid = os.geteuid(), os.getegid()
    (node / "etc/old").write_bytes(b"old\xff")
    (node / "etc/old").chmod(0o600)
    before = {name: machine.entry(f"/etc/{name}") for name in machine.names("/etc")}
    wanted: tuple[Operation, ...] = (
        MakeDirectory("/etc/d", uid, gid, 0o750),
        WriteFile("/etc/d/new", b"new", uid, gid, 0o640),
        WriteFile("/etc/old", b"changed", uid, gid, 0o644),
        MakeLink("/etc/link", "d/new", uid, gid),
        RemovePath("/etc/passwd"),
    )
    back = [do(machine, operation) for operation in wanted]
    for inverse in reversed(back):
        assert inverse is not None
        machine.apply(inverse)
    assert {name: machine.entry(f"/etc/{name}") for name in machine.names("/etc")} == before


@pytest.mark.needs_root
def test_visudo_guards_the_door(machine: LocalMachine, node: Path) -> None:
    if shutil.which("visudo", path="/usr/sbin") is None:
        pytest.skip("sudo is not installed")
    (node / "etc/sudoers.d").mkdir(mode=0o750)
    with pytest.raises(StepFailed, match="visudo rejects"):
        machine.apply(WriteFile("/etc/sudoers.d/bai", b"bai ALL=(ALL NOPASSWD ALL\n", 0, 0, 0o440, "visudo"))
    assert os.listdir(node / "etc/sudoers.d") == []
    machine.apply(WriteFile("/etc/sudoers.d/bai", b"bai ALL=(ALL) NOPASSWD: ALL\n", 0, 0, 0o440, "visudo"))
    assert machine.entry("/etc/sudoers.d/bai") is not None


def test_findmnt_guards_fstab(machine: LocalMachine, node: Path) -> None:
    if shutil.which("findmnt") is None:
        pytest.skip("findmnt is not installed")
    uid, gid = os.geteuid(), os.getegid()
    with pytest.raises(StepFailed, match="findmnt rejects"):
        machine.apply(WriteFile("/etc/fstab", b"nonsense\n", uid, gid, 0o644, "findmnt"))
    assert machine.entry("/etc/fstab") is None


def test_a_kernel_parameter_is_read_back(machine: LocalMachine, node: Path) -> None:
    directory = node / "proc/sys/net/ipv4"
    directory.mkdir(parents=True)
    (directory / "tcp_rmem").write_text("1\t2\t3\n")
    inverse = do(machine, SetSysctl("net.ipv4.tcp_rmem", "4096 131072 16777216"))
    assert inverse == SetSysctl("net.ipv4.tcp_rmem", "1 2 3")
    with pytest.raises(StepFailed, match=r"net\.ipv4\.none = 1: this kernel does not have this parameter"):
        machine.apply(SetSysctl("net.ipv4.none", "1"))
    assert not (directory / "none").exists()


@pytest.mark.needs_root
def test_refusals_of_the_kernel_are_explained() -> None:
    machine = LocalMachine()
    before = machine.sysctl("net.ipv4.ip_local_port_range")
    with pytest.raises(
        StepFailed, match=r'ip_local_port_range = "10000 65000": the kernel does not accept this value'
    ):
        machine.apply(SetSysctl("net.ipv4.ip_local_port_range", '"10000 65000"'))
    assert machine.sysctl("net.ipv4.ip_local_port_range") == before


@pytest.mark.needs_root
def test_the_immutable_attribute(machine: LocalMachine, node: Path) -> None:
    (node / "guard").mkdir()
    try:
        inverse = do(machine, SetImmutable("/guard"))
    except StepFailed as error:
        pytest.skip(f"this file system has no such attribute: {error}")
    try:
        with pytest.raises(StepFailed, match="immutable"):
            machine.apply(WriteFile("/guard/x", b""))
    finally:
        assert inverse is not None
        machine.apply(inverse)
    assert machine.state(Key("immutable", "/guard")) is None
    machine.apply(WriteFile("/guard/x", b"", os.geteuid(), os.getegid()))


# In a mount namespace of its own: a directory, first with a volume over it, then without, as `lsattr` shows it.
BELOW = """
import ctypes, os
from bai_wizard.core.errors import StateUnknown
from bai_wizard.resources.files import SetImmutable
from bai_wizard.core.state import Key
from bai_wizard.resources.local import LocalMachine

libc = ctypes.CDLL(None, use_errno=True)
machine, key = LocalMachine(), Key("immutable", "/mnt/point")

def mount(path, flags=0):
    assert libc.mount(b"none", path, b"tmpfs", ctypes.c_ulong(flags), b"mode=755") == 0, ctypes.get_errno()

def hidden():
    assert libc.umount(b"/mnt/point") == 0
    shown = os.popen("lsattr -d /mnt/point").read().split()[0]
    mount(b"/mnt/point")
    return "i" in shown

assert libc.unshare(0x20000) == 0, "unshare"
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x4000 | 1 << 18), None) == 0, "unshare"
mount(b"/mnt")
os.mkdir("/mnt/point")
mount(b"/mnt/point")
mounts = open("/proc/self/mountinfo").read()
try:
    assert machine.state(key) is None
except StateUnknown as error:
    raise SystemExit(f"unsupported: {error}")
machine.apply(SetImmutable("/mnt/point"))
assert machine.state(key) is not None
assert open("/proc/self/mountinfo").read() == mounts
open("/mnt/point/written", "w").close()
assert hidden()
machine.apply(SetImmutable("/mnt/point", immutable=False))
assert machine.state(key) is None
assert not hidden()
assert libc.umount(b"/mnt/point") == 0
open("/mnt/point/hidden", "w").close()
mount(b"/mnt/point")
try:
    raise SystemExit(f"files are hidden: {machine.state(key)}")
except StateUnknown as error:
    assert "contains other files" in str(error), error
assert libc.umount(b"/mnt/point") == 0
os.unlink("/mnt/point/hidden")
mount(b"/mnt/point")
assert libc.mount(b"none", b"/mnt", None, ctypes.c_ulong(0x20 | 1), None) == 0, ctypes.get_errno()
try:
    raise SystemExit(f"read-only: {machine.state(key)}")
except StateUnknown as error:
    assert "read-only" in str(error), error
print("done")
"""


@pytest.mark.needs_root
def test_the_immutable_attribute_below_a_mount() -> None:
    done = subprocess.run([sys.executable, "-c", BELOW], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "unsupported" in done.stderr:
        pytest.skip(f"not on this machine: {done.stderr[-200:]}")
    assert done.stdout == "done\n", done.stderr


def test_a_command_that_fails_is_quoted(machine: LocalMachine) -> None:
    lines: list[str] = []

    def log(text: str, **_more: object) -> None:
        lines.append(text)

    failing = RunCommand(("sh", "-c", "echo one; echo the reason >&2; exit 4"), "do it")
    with pytest.raises(StepFailed, match="do it: the reason"):
        machine.apply(failing, log)
    assert sorted(lines) == ["one", "the reason"]
    with pytest.raises(StepFailed, match="nothing-like-this is not installed"):
        machine.apply(RunCommand(("nothing-like-this",), "do it"))
    with pytest.raises(StepFailed, match="did not finish within"):
        machine.apply(RunCommand(("sleep", "60"), "do it", timeout=0.2))
    with pytest.raises(StepFailed, match="account ghost does not exist"):
        machine.apply(RunCommand(("true",), "do it", account="ghost"))


@pytest.mark.needs_root
def test_a_command_as_the_account(machine: LocalMachine) -> None:
    lines: list[str] = []

    def log(text: str, **_more: object) -> None:
        lines.append(text)

    argv = ("sh", "-c", "id -u; echo $HOME $USER $EXTRA")
    machine.apply(RunCommand(argv, "who", account="ubuntu", environment=(("EXTRA", "more"),)), log)
    assert lines == ["1000", "/home/ubuntu ubuntu more"]


def test_units_without_systemd_are_refused_with_the_reason(machine: LocalMachine) -> None:
    with pytest.raises(StepFailed, match="systemd does not run on this node"):
        machine.apply(SetUnit("docker.service", active=True))


def test_every_kind_of_operation_has_its_performer() -> None:
    resources.load_all()
    kinds = {kind for kind in Operation.kinds.values() if kind.__module__.startswith("bai_wizard.")}
    assert set(resources._performers) == kinds


def test_what_executes_an_operation_is_beside_it_or_in_its_apply_module() -> None:
    resources.load_all()
    for kind, function in resources._performers.items():
        assert function.__module__.removesuffix("_apply") == kind.__module__


def test_mounted_line_of_fstab_that_is_in_use_stays(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts are root's")
    from bai_wizard.resources.mounts import SetMount

    point = tmp_path / "mnt"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=False).returncode != 0:
        pytest.skip("mounts are not allowed here")
    machine = LocalMachine()
    user = subprocess.Popen(["sleep", "60"], cwd=point)
    try:
        with pytest.raises(StepFailed, match=rf"in use by sleep \({user.pid}\): still mounted"):
            machine.apply(SetMount(str(point), mounted=False))
        assert machine.mount(str(point)) is not None
    finally:
        user.kill()
        user.wait()
    machine.apply(SetMount(str(point), mounted=False))
    assert machine.mount(str(point)) is None
    assert machine.entry("/etc") == Entry("directory", 0, 0, 0o755)
