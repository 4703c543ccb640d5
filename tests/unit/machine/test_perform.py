"""Primitives carried out on a root of plain files by the real tools, and taken back to the byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.primitives import (
    AddGroup,
    AddMember,
    AddUser,
    BasePrimitive,
    MakeDirectory,
    MakeLink,
    Primitive,
    RemovePath,
    RunCommand,
    SetImmutable,
    SetPassword,
    SetSysctl,
    SetUnit,
    WriteFile,
    closed_set,
)
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Entry, Key, States
from bai_wizard.machine import perform
from bai_wizard.machine.local import LocalMachine

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


def do(machine: LocalMachine, primitive: Primitive) -> BasePrimitive | None:
    """Performs, checks the promise, and returns the way back."""
    before: States = {key: machine.state(key) for key in primitive.keys()}
    machine.perform(primitive)
    now = {key: machine.state(key) for key in primitive.keys()}
    assert primitive.holds(now)
    assert primitive.after(before) == now
    return primitive.inverse(before)


@pytest.mark.needs_root
def test_an_account_comes_and_goes_to_the_byte(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    wanted: tuple[Primitive, ...] = (
        AddGroup("bai", 1100),
        AddUser("bai", 1100, 1100, "Backend.AI", "/home/bai", "/bin/bash"),
        AddMember("bai", "sudo"),
        SetPassword("bai", Secret(HASH)),
    )
    back = [do(machine, primitive) for primitive in wanted]
    assert f"bai:{HASH}:" in (node / "etc/shadow").read_text()
    assert not (node / "home").exists()
    for inverse in reversed(back):
        assert inverse is not None
        machine.perform(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
def test_a_user_goes_and_its_group_stays(machine: LocalMachine, node: Path) -> None:
    """userdel takes an empty group of the same name along; that group may have been there before us."""
    machine.perform(AddGroup("bai", 1100))
    before = state_of(node)
    inverse = do(machine, AddUser("bai", 1100, 1100, "", "/home/bai", "/bin/bash"))
    assert inverse is not None
    machine.perform(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
def test_a_password_and_its_day_come_back(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    inverse = do(machine, SetPassword("ubuntu", Secret(HASH)))
    assert state_of(node) != before
    assert inverse is not None
    machine.perform(inverse)
    assert state_of(node) == before


@pytest.mark.needs_root
@pytest.mark.parametrize("field", ["*", "!", "!*", ""])
def test_locked_and_empty_password_fields(machine: LocalMachine, node: Path, field: str) -> None:
    do(machine, SetPassword("ubuntu", Secret(field)))
    assert f"\nubuntu:{field}:" in (node / "etc/shadow").read_text()


@pytest.mark.needs_root
def test_a_taken_number_is_told_in_words(machine: LocalMachine, node: Path) -> None:
    before = state_of(node)
    with pytest.raises(StepFailed, match=r"group bai was not added: .*1000.* exists"):
        machine.perform(AddGroup("bai", 1000))
    with pytest.raises(StepFailed, match="user bai was not added"):
        machine.perform(AddUser("bai", 1000, 1000, "", "/home/bai", "/bin/bash"))
    assert state_of(node) == before


@pytest.mark.needs_root
def test_no_hash_stands_in_an_argument_list(
    machine: LocalMachine, monkeypatch: pytest.MonkeyPatch, node: Path
) -> None:
    spy = node / "bin"
    spy.mkdir()
    for tool in ("chpasswd", "usermod", "chage"):
        real = shutil.which(tool, path="/usr/sbin:/usr/bin")
        (spy / tool).write_text(f'#!/bin/sh\necho "$0 $@" >> {node}/seen\nenv >> {node}/seen\nexec {real} "$@"\n')
        (spy / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy}:{os.environ['PATH']}")
    inverse = do(machine, SetPassword("ubuntu", Secret(HASH)))
    assert inverse is not None
    machine.perform(inverse)
    seen = (node / "seen").read_text()
    assert "chpasswd" in seen
    assert HASH not in seen
    assert "$y$old" not in seen


def test_files_come_and_go(machine: LocalMachine, node: Path) -> None:
    uid, gid = os.geteuid(), os.getegid()
    (node / "etc/old").write_bytes(b"old\xff")
    (node / "etc/old").chmod(0o600)
    before = {name: machine.entry(f"/etc/{name}") for name in machine.names("/etc")}
    wanted: tuple[Primitive, ...] = (
        MakeDirectory("/etc/d", uid, gid, 0o750),
        WriteFile("/etc/d/new", b"new", uid, gid, 0o640),
        WriteFile("/etc/old", b"changed", uid, gid, 0o644),
        MakeLink("/etc/link", "d/new", uid, gid),
        RemovePath("/etc/passwd"),
    )
    back = [do(machine, primitive) for primitive in wanted]
    for inverse in reversed(back):
        assert inverse is not None
        machine.perform(inverse)
    assert {name: machine.entry(f"/etc/{name}") for name in machine.names("/etc")} == before


@pytest.mark.needs_root
def test_visudo_guards_the_door(machine: LocalMachine, node: Path) -> None:
    if shutil.which("visudo", path="/usr/sbin") is None:
        pytest.skip("sudo is not installed")
    (node / "etc/sudoers.d").mkdir(mode=0o750)
    with pytest.raises(StepFailed, match="visudo refuses"):
        machine.perform(WriteFile("/etc/sudoers.d/bai", b"bai ALL=(ALL NOPASSWD ALL\n", 0, 0, 0o440, "visudo"))
    assert os.listdir(node / "etc/sudoers.d") == []
    machine.perform(WriteFile("/etc/sudoers.d/bai", b"bai ALL=(ALL) NOPASSWD: ALL\n", 0, 0, 0o440, "visudo"))
    assert machine.entry("/etc/sudoers.d/bai") is not None


def test_findmnt_guards_fstab(machine: LocalMachine, node: Path) -> None:
    if shutil.which("findmnt") is None:
        pytest.skip("findmnt is not installed")
    uid, gid = os.geteuid(), os.getegid()
    with pytest.raises(StepFailed, match="findmnt refuses"):
        machine.perform(WriteFile("/etc/fstab", b"nonsense\n", uid, gid, 0o644, "findmnt"))
    assert machine.entry("/etc/fstab") is None


def test_a_kernel_parameter_is_read_back(machine: LocalMachine, node: Path) -> None:
    directory = node / "proc/sys/net/ipv4"
    directory.mkdir(parents=True)
    (directory / "tcp_rmem").write_text("1\t2\t3\n")
    inverse = do(machine, SetSysctl("net.ipv4.tcp_rmem", "4096 131072 16777216"))
    assert inverse == SetSysctl("net.ipv4.tcp_rmem", "1 2 3")
    with pytest.raises(StepFailed, match=r"net\.ipv4\.none = 1: this kernel does not have it"):
        machine.perform(SetSysctl("net.ipv4.none", "1"))
    assert not (directory / "none").exists()


@pytest.mark.needs_root
def test_the_kernel_refuses_in_plain_words() -> None:
    machine = LocalMachine()
    before = machine.sysctl("net.ipv4.ip_local_port_range")
    with pytest.raises(
        StepFailed, match=r'ip_local_port_range = "10000 65000": the kernel does not accept this value'
    ):
        machine.perform(SetSysctl("net.ipv4.ip_local_port_range", '"10000 65000"'))
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
            machine.perform(WriteFile("/guard/x", b""))
    finally:
        assert inverse is not None
        machine.perform(inverse)
    assert machine.state(Key("immutable", "/guard")) is None
    machine.perform(WriteFile("/guard/x", b"", os.geteuid(), os.getegid()))


def test_a_command_that_fails_is_quoted(machine: LocalMachine) -> None:
    lines: list[str] = []

    def log(text: str, **_more: object) -> None:
        lines.append(text)

    failing = RunCommand(("sh", "-c", "echo one; echo the reason >&2; exit 4"), "do it")
    with pytest.raises(StepFailed, match="do it: the reason"):
        machine.perform(failing, log)
    assert sorted(lines) == ["one", "the reason"]
    with pytest.raises(StepFailed, match="nothing-like-this is not installed"):
        machine.perform(RunCommand(("nothing-like-this",), "do it"))
    with pytest.raises(StepFailed, match="no answer within"):
        machine.perform(RunCommand(("sleep", "60"), "do it", timeout=0.2))
    with pytest.raises(StepFailed, match="no account ghost"):
        machine.perform(RunCommand(("true",), "do it", account="ghost"))


@pytest.mark.needs_root
def test_a_command_as_the_account(machine: LocalMachine) -> None:
    lines: list[str] = []

    def log(text: str, **_more: object) -> None:
        lines.append(text)

    argv = ("sh", "-c", "id -u; echo $HOME $USER $EXTRA")
    machine.perform(RunCommand(argv, "who", account="ubuntu", environment=(("EXTRA", "more"),)), log)
    assert lines == ["1000", "/home/ubuntu ubuntu more"]


def test_units_without_systemd_are_refused_with_the_reason(machine: LocalMachine) -> None:
    with pytest.raises(StepFailed, match="systemd does not run on this node"):
        machine.perform(SetUnit("docker.service", active=True))


def test_every_kind_of_primitive_has_its_performer() -> None:
    from typing import get_args

    missing = [
        kind.kind
        for kind in get_args(closed_set())
        if not any(kind.kind in kinds for kinds in perform.MODULES.values())
    ]
    assert missing == []
    perform.load_all()
    for kind in get_args(closed_set()):
        assert callable(perform.performer(kind.kind))


def test_mounted_line_of_fstab_that_is_in_use_stays(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounts are root's")
    from bai_wizard.core.primitives import SetMount

    point = tmp_path / "mnt"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=False).returncode != 0:
        pytest.skip("mounts are not allowed here")
    machine = LocalMachine()
    user = subprocess.Popen(["sleep", "60"], cwd=point)
    try:
        with pytest.raises(StepFailed, match=rf"in use by sleep \({user.pid}\): left mounted"):
            machine.perform(SetMount(str(point), mounted=False))
        assert machine.mount(str(point)) is not None
    finally:
        user.kill()
        user.wait()
    machine.perform(SetMount(str(point), mounted=False))
    assert machine.mount(str(point)) is None
    assert machine.entry("/etc") == Entry("directory", 0, 0, 0o755)
