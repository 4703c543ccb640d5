"""The simulated node behaves like a real one for steps and the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Key, Package, States, Unit
from bai_wizard.node.demo import demo_machine, demo_names
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.resources.files import MakeDirectory, RemovePath, WriteFile
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.packages import HoldPackages, InstallPackages, RefreshPackages
from bai_wizard.resources.sysctl import SetSysctl
from bai_wizard.resources.units import RestartUnit, SetUnit
from bai_wizard.resources.users import AddGroup, AddMember, AddUser, SetPassword
from tests.faults import Killed, fail_on, hang_on, kill_at
from tests.waiting import PATIENCE

ALL: tuple[Operation, ...] = (
    AddGroup("bai", 1100),
    AddUser("bai", 1100, 1100, "", "/home/bai", "/bin/bash"),
    AddMember("bai", "sudo"),
    SetPassword("bai", Secret("$y$j9T$salt$hash-of-the-demo")),
    MakeDirectory("/home/bai", 1100, 1100, 0o750),
    WriteFile("/etc/hosts", b"127.0.0.1 localhost\n"),
    WriteFile("/etc/sysctl.d/99-backendai.conf", b"a = 1\n"),
    RemovePath("/etc/fstab"),
    SetSysctl("net.core.rmem_max", "16777216"),
    SetUnit("ssh.service", enabled=True, active=False),
    RestartUnit("ssh.service", "why not"),
    SetMount("/vfroot/vol1", True, "10.0.0.1:/vol1", "nfs4"),
)


def bare() -> SimulatedMachine:
    return demo_machine("bare", delay=0)


def do_all(machine: SimulatedMachine, wanted: tuple[Operation, ...]) -> list[Operation]:
    """Performs in order; returns the way back, newest first."""
    back = []
    for operation in wanted:
        before: States = {key: machine.state(key) for key in operation.keys()}
        inverse = operation.inverse(before)
        machine.apply(operation)
        if inverse is not None:
            back.append(inverse)
    return list(reversed(back))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(ALL[4:]), unique=True, max_size=8))
def test_whatever_is_done_can_be_undone(more: list[Operation]) -> None:
    machine = bare()
    before = machine.snapshot()
    wanted = (*ALL[:4], *more)
    for inverse in do_all(machine, wanted):
        machine.apply(inverse)
    assert machine.snapshot() == before


@pytest.mark.parametrize("name", demo_names())
def test_every_demo_node_answers(name: str) -> None:
    machine = demo_machine(name)
    assert machine.names("/")
    assert machine.text("/etc/hosts")
    assert machine.account("root") is not None
    assert len([one for one in machine.names("/sys/bus/pci/devices") if one]) == 9
    assert machine.free_bytes("/var/lib/docker/overlay2") == 3400 << 30
    assert machine.query(["getent", "passwd", "1000"]).out.startswith("ubuntu:")
    assert machine.query(["getent", "passwd", "4711"]).code == 2
    assert machine.hardware("memory").total > machine.hardware("memory").available > 0
    assert machine.hardware("processor").threads == 64
    assert [disk.path for disk in machine.hardware("disks")] == ["/", "/boot/efi", "/var/lib/docker"]
    with pytest.raises(StateUnknown):
        machine.query(["nvidia-smi"])


def test_operations_that_a_real_node_refuses_are_refused() -> None:
    machine = bare()
    before = machine.snapshot()
    refused: tuple[Operation, ...] = (
        WriteFile("/no/such/directory/x", b""),
        WriteFile("/etc/security", b""),
        MakeDirectory("/etc/hosts"),
        RemovePath("/etc/security"),
        SetSysctl("net.core.none", "1"),
        SetUnit("docker.service", active=True),
        InstallPackages(("docker-ce",)),
        InstallPackages(("docker.io",), ("99*",)),
        HoldPackages(("docker.io",)),
    )
    for operation in refused:
        with pytest.raises(StepFailed):
            machine.apply(operation)
    assert machine.snapshot() == before


def test_packages_come_with_their_units_and_from_their_source() -> None:
    machine = bare()
    assert machine.candidate("docker-ce") is None
    machine.apply(WriteFile("/etc/apt/sources.list.d/docker.sources", b"x"))
    age = machine.changed_at("/var/lib/apt/lists")
    machine.apply(RefreshPackages("new source"))
    assert machine.changed_at("/var/lib/apt/lists") > age
    assert machine.engine("/version") is None
    machine.apply(InstallPackages(("docker-ce",), ("5:28*",)))
    assert machine.package("docker-ce") == Package("5:28.5.2-1~ubuntu.24.04~noble")
    assert machine.unit("docker.service") == Unit("enabled", "active")
    assert machine.group("docker") is not None
    assert machine.engine("/version")["Version"] == "28.5.2"


def test_a_restart_makes_a_service_newer_than_its_files() -> None:
    machine = bare()
    machine.apply(WriteFile("/etc/hosts", b"new\n"))
    unit = machine.unit("ssh.service")
    assert unit is not None
    assert machine.newer("/etc/hosts", unit.since)
    machine.apply(RestartUnit("ssh.service", "its file is newer"))
    unit = machine.unit("ssh.service")
    assert unit is not None
    assert not machine.newer("/etc/hosts", unit.since)


def test_faults() -> None:
    write = WriteFile("/etc/new", b"x")

    def attempt(fault: Callable[..., None]) -> SimulatedMachine:
        machine = SimulatedMachine(bare().snapshot(), fault=fault)
        machine.apply(write)
        return machine

    with pytest.raises(StepFailed, match="no luck"):
        attempt(fail_on("file:/etc/", "no luck"))
    assert attempt(fail_on("set-unit", "no luck")).performed == [write]
    with pytest.raises(Killed):
        attempt(kill_at(0, "after"))
    go = threading.Event()
    thread = threading.Thread(target=attempt, args=(hang_on("write-file", go),), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    go.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_killed_before_and_after_differ_by_the_change() -> None:
    for moment, there in (("before", False), ("after", True)):
        machine = SimulatedMachine(bare().snapshot(), fault=kill_at(1, moment))  # type: ignore[arg-type]
        machine.apply(WriteFile("/etc/one", b"x"))
        with pytest.raises(Killed):
            machine.apply(WriteFile("/etc/two", b"x"))
        assert (Key("file", "/etc/two") in machine.snapshot()) is there


def test_the_finished_demo_needs_nothing_more(tmp_path: Path) -> None:
    """Fails if pages have changed: `python -m tests.tools.finished_demo` generates the fixture again."""
    from bai_wizard import compose
    from bai_wizard.answers.load import load
    from tests.tools.finished_demo import ANSWERS

    machine = demo_machine("finished", delay=0)
    answers = tmp_path / "answers.toml"
    answers.write_text(ANSWERS)
    plan = compose.plan(machine, compose.desired_from_answers(load(str(answers), machine.host)))
    assert [item.step.id for item in plan.pending()] == []
    assert plan.blocked() == ()
