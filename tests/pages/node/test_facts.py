"""What the first screen tells: the formats of the kernel and of tools, and probes without an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pytest

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Asked, Known, Unknown
from bai_wizard.core.machine import Completed
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.node.facts import Disk, Network, NodeFacts, Processor, Release
from bai_wizard.pages.node.page import PAGE, now
from bai_wizard.pages.node.parse import parse_cpuinfo, parse_df, parse_ip, parse_lscpu, parse_release
from bai_wizard.pages.node.probe import DF, PIECES, probe_telling
from bai_wizard.pages.node.settings import NetworkSettings
from tests.pages.ubuntu import ubuntu

CPUINFO = "\n\n".join(
    f"processor\t: {number}\nmodel name\t: AMD EPYC 9654\n"
    f"physical id\t: {number // 4}\ncore id\t\t: {number % 4 // 2}\n"
    "flags\t\t: fpu hypervisor"
    for number in range(8)
)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n\nprocessor\t: 1\nBogoMIPS\t: 50.00\n"
LSCPU = json.dumps(
    {
        "lscpu": [
            {"field": "CPU(s):", "data": "2"},
            {"field": "Vendor ID:", "data": "ARM", "children": [{"field": "Model name:", "data": "Neoverse-V2",
             "children": [{"field": "Core(s) per socket:", "data": "2"}, {"field": "Socket(s):", "data": "1"}]}]},
        ]
    }
)  # fmt: skip
DF_OUT = """Filesystem     Type          1B-blocks         Avail Mounted on
/dev/vda1      ext4       100000000000   60000000000 /
/dev/vda1      ext4       100000000000   60000000000 /var/lib/bind mount
overlay        overlay    100000000000   60000000000 /var/lib/docker/overlay2/x/merged
/dev/vdb       xfs                   -             - /broken
/dev/vdc       xfs       2000000000000 1000000000000 /data with blank
"""
IP = json.dumps(
    [
        {
            "ifname": "lo",
            "operstate": "UNKNOWN",
            "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
        },
        {
            "ifname": "eth0",
            "operstate": "UP",
            "addr_info": [
                {"local": "10.20.30.20", "prefixlen": 24, "scope": "global"},
                {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
            ],
        },
        {"ifname": "eth1", "operstate": "DOWN", "addr_info": []},
        {"ifname": "veth1", "operstate": "UP", "addr_info": []},
    ]
)
LOOKS = {DF: Completed(1, DF_OUT, "df: x: stale"), ("ip", "-j", "address"): Completed(0, IP, "")}
KERNEL = {
    "/proc/cpuinfo": CPUINFO,
    "/proc/meminfo": "MemTotal:       32000000 kB\nMemFree: 1 kB",
    "/proc/sys/kernel/osrelease": "6.8.0-50-generic",
    "/proc/uptime": "90061.5 1.0",
    "/sys/class/dmi/id/sys_vendor": "QEMU",
}


def facts(**about: object) -> NodeFacts:
    machine = ubuntu(**{"looks": LOOKS, "kernel": KERNEL, **about})  # type: ignore[arg-type]
    found = PAGE.probe(machine, NetworkSettings(), Context())
    assert isinstance(found, NodeFacts)
    return found


def test_a_node_is_told_in_words() -> None:
    assert now(facts()) == (
        ("Release", "Ubuntu 24.04.3 LTS"),
        ("Kernel", "6.8.0-50-generic"),
        ("Runs in", "a virtual machine (QEMU)"),
        ("Processor", "8 × AMD EPYC 9654 (4 cores)"),
        ("Memory", "31 GiB"),
        ("Up for", "1 d 1 h"),
        ("Reboot", "none pending"),
        ("Disk /", "56 of 93 GiB free (ext4, /dev/vda1)"),
        ("Disk /data with blank", "931 of 1863 GiB free (xfs, /dev/vdc)"),
        ("Network eth0", "10.20.30.20/24 (up)"),
        ("Network eth1", "no address (down)"),
    )


def test_a_probe_without_an_answer_costs_its_own_fact() -> None:
    found = facts(looks={})
    assert isinstance(found.disks, Unknown)
    assert isinstance(found.networks, Unknown)
    assert isinstance(found.memory, Known)
    assert ("Disks", "cannot tell: df is not installed on this simulated node") in now(found)


def test_damaged_output_is_no_exception() -> None:
    found = facts(looks={DF: Completed(0, "", ""), ("ip", "-j", "address"): Completed(0, "nonsense", "")})
    assert isinstance(found.disks, Unknown)
    assert isinstance(found.networks, Unknown)
    nothing = facts(kernel={})
    assert isinstance(nothing.processor, Absent)
    assert isinstance(nothing.memory, Absent)


def test_a_pending_reboot() -> None:
    machine = ubuntu(files={"/run/reboot-required": "x", "/run/reboot-required.pkgs": "linux-base\nlibc6\nlibc6\n"})
    found = PAGE.probe(machine, NetworkSettings(), Context())
    assert found.reboot == Known(("linux-base", "libc6"))


def test_processors() -> None:
    assert parse_cpuinfo(CPUINFO) == Processor("AMD EPYC 9654", 2, 4, 8)
    assert parse_cpuinfo(ARM) == Processor("", 1, 2, 2)
    assert parse_cpuinfo("") is None
    assert parse_lscpu(LSCPU) == Processor("Neoverse-V2", 1, 2, 2)
    looks = {("lscpu", "-J"): Completed(0, LSCPU, "")}
    assert facts(kernel={"/proc/cpuinfo": ARM}, looks=looks).processor == Known(Processor("Neoverse-V2", 1, 2, 2))


def test_disks_and_networks() -> None:
    assert parse_df(DF_OUT)[1] == Disk("/dev/vdc", "xfs", "/data with blank", 2000000000000, 1000000000000)
    assert parse_ip(IP)[0] == Network("eth0", "UP", ("10.20.30.20/24",))


def test_releases() -> None:
    found = parse_release("NAME=x\nID=debian\nVERSION_ID='13'\nPRETTY_NAME=\"Debian 13\"\n")
    assert found == Release("debian", "13", "Debian 13")
    assert found.is_supported
    assert not Release("ubuntu", "22.04", "Ubuntu 22.04").is_supported


def test_each_fact_is_told_when_it_is_there_and_one_that_hangs_costs_itself_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()

    class Hanging(SimulatedMachine):
        def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
            if argv[0] == "df":
                never.wait(20)
            return super().look(argv, deadline=deadline)

    monkeypatch.setitem(PIECES, "disks", PIECES["disks"]._replace(deadline=0.3))
    told: list[NodeFacts] = []
    node = ubuntu()
    machine = Hanging(node.snapshot(), node.surroundings)
    facts = probe_telling(machine, NetworkSettings(), Context(host="n"), told.append)
    never.set()
    assert facts.disks == Unknown("no answer within 0.3 s")
    assert isinstance(told[0].kernel, Asked)
    assert isinstance(told[-1].disks, Asked)
    assert not [name for name in PIECES if name != "disks" and isinstance(getattr(told[-1], name), Asked)]
    assert ("Disks", "looking, 0.3 s at most") in now(told[-1])
    assert ("Disks", "cannot tell: no answer within 0.3 s") in now(facts)
