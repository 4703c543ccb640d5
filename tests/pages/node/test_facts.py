"""Facts of the first screen: formats of the kernel and of tools, and probes without a result."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.core.machine import Disk, Hardware, HardwarePart, Interface, Memory, Processor
from bai_wizard.core.page import Context, Known, Probing, Unknown
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.node.plan import PAGE
from bai_wizard.pages.node.probe import PIECES, NodeFacts, Release, parse_release, probe_telling
from bai_wizard.pages.node.rows import now
from bai_wizard.pages.node.settings import NetworkSettings
from tests.pages.ubuntu import ubuntu
from tests.waiting import PATIENCE

HARDWARE = Hardware(
    processor=Processor("AMD EPYC 9654", ("fpu", "hypervisor"), 4, 8),
    memory=Memory(32000000 << 10, 1 << 10),
    disks=(
        Disk("/dev/vda1", "ext4", "/var/lib/bind mount", 100000000000, 40000000000, 60000000000),
        Disk("/dev/vda1", "ext4", "/", 100000000000, 40000000000, 60000000000),
        Disk("/dev/loop0", "squashfs", "/snap/core/1", 1000000, 1000000, 0),
        Disk("/dev/vdb", "xfs", "/empty", 0, 0, 0),
        Disk("/dev/vdc", "xfs", "/data with blank", 2000000000000, 1000000000000, 1000000000000),
    ),
    interfaces=(
        Interface("lo", "UNKNOWN", ("127.0.0.1/8", "::1/128")),
        Interface("eth0", "UP", ("10.20.30.20/24", "fe80::1/64")),
        Interface("eth1", "DOWN"),
        Interface("veth1", "UP"),
    ),
    uptime=90061.5,
)
KERNEL = {
    "/proc/cpuinfo": "flags\t\t: fpu hypervisor",
    "/proc/sys/kernel/osrelease": "6.8.0-50-generic",
    "/sys/class/dmi/id/sys_vendor": "QEMU",
}


def facts(**about: object) -> NodeFacts:
    machine = ubuntu(**{"hardware": HARDWARE, "kernel": KERNEL, **about})  # type: ignore[arg-type]
    result = PAGE.probe(machine, NetworkSettings(), Context())
    assert isinstance(result, NodeFacts)
    return result


def test_a_node_is_described() -> None:
    assert now(facts()) == (
        ("Release", "Ubuntu 24.04.3 LTS"),
        ("Kernel", "6.8.0-50-generic"),
        ("Platform", "a virtual machine (QEMU)"),
        ("Processor", "8 × AMD EPYC 9654 (4 cores)"),
        ("Memory", "31 GiB"),
        ("Uptime", "1 day 1 h"),
        ("Reboot", "none pending"),
        ("Disk /", "56 of 93 GiB free (ext4, /dev/vda1)"),
        ("Disk /data with blank", "931 of 1863 GiB free (xfs, /dev/vdc)"),
        ("Network eth0", "10.20.30.20/24 (up)"),
        ("Network eth1", "no address (down)"),
    )


def test_a_probe_without_an_answer_costs_its_own_fact() -> None:
    result = facts(hardware=replace(HARDWARE, disks=(), interfaces=()))
    assert isinstance(result.disks, Unknown)
    assert isinstance(result.networks, Unknown)
    assert isinstance(result.memory, Known)
    assert ("Disks", "unknown: disks: not part of this simulated node") in now(result)


def test_disks_without_space_are_none_at_all() -> None:
    result = facts(hardware=replace(HARDWARE, disks=(Disk("/dev/vdb", "xfs", "/empty", 0, 0, 0),)))
    assert result.disks == Unknown("no local file systems")


def test_a_pending_reboot() -> None:
    machine = ubuntu(files={"/run/reboot-required": "x", "/run/reboot-required.pkgs": "linux-base\nlibc6\nlibc6\n"})
    result = PAGE.probe(machine, NetworkSettings(), Context())
    assert result.reboot == Known(("linux-base", "libc6"))


def test_releases() -> None:
    result = parse_release("NAME=x\nID=debian\nVERSION_ID='13'\nPRETTY_NAME=\"Debian 13\"\n")
    assert result == Release("debian", "13", "Debian 13")
    assert result.is_supported
    assert not Release("ubuntu", "22.04", "Ubuntu 22.04").is_supported


def test_a_hanging_fact_does_not_delay_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()

    class Hanging(SimulatedMachine):
        def hardware(self, part: HardwarePart) -> Any:
            if part == "disks":
                never.wait(PATIENCE)
            return super().hardware(part)

    monkeypatch.setitem(PIECES, "disks", PIECES["disks"]._replace(deadline=0.3))
    lines: list[NodeFacts] = []
    node = ubuntu()
    machine = Hanging(node.snapshot(), node.environment)
    facts = probe_telling(machine, NetworkSettings(), Context(host="n"), lines.append)
    never.set()
    assert facts.disks == Unknown("no response within 0.3 s")
    assert isinstance(lines[0].kernel, Probing)
    assert isinstance(lines[-1].disks, Probing)
    assert not [name for name in PIECES if name != "disks" and isinstance(getattr(lines[-1], name), Probing)]
    assert ("Disks", "checking (up to 0.3 s)") in now(lines[-1])
    assert ("Disks", "unknown: no response within 0.3 s") in now(facts)
