"""Looks at a node: every fact apart, so that one without an answer costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bai_wizard.core.blocks import BlockDamaged, outside
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.view import NodeView
from bai_wizard.pages.node import proxy
from bai_wizard.pages.node.facts import Disk, Network, NodeFacts, Processor, Release
from bai_wizard.pages.node.parse import parse_cpuinfo, parse_df, parse_ip, parse_lscpu, parse_release
from bai_wizard.pages.node.settings import NetworkSettings

T = TypeVar("T")
# Only local file systems: one on a dead server would not answer. The others left out have no room of their own.
DF = (
    "df", "--local", "--block-size=1", "--output=source,fstype,size,avail,target",
    "-x", "tmpfs", "-x", "devtmpfs", "-x", "squashfs", "-x", "efivarfs",
)  # fmt: skip


def probe(machine: Machine, settings: NetworkSettings, context: Context) -> NodeFacts:
    """The facts of the node."""
    return NodeFacts(
        host=machine.host,
        release=_fact(lambda: release(machine)),
        kernel=_fact(lambda: machine.kernel_text("/proc/sys/kernel/osrelease")),
        processor=_fact(lambda: _processor(machine)),
        memory=_fact(lambda: _memory(machine)),
        disks=_fact(lambda: _disks(machine)),
        networks=_fact(lambda: _networks(machine)),
        surroundings=_fact(lambda: _surroundings(machine)),
        uptime=_fact(lambda: _uptime(machine)),
        reboot=_fact(lambda: waiting_for_reboot(machine)),
        environment=_others(machine, proxy.ENVIRONMENT),
        gitconfig=_others(machine, proxy.GITCONFIG),
    )


def _fact(read: Callable[[], T | None]) -> Fact[T]:
    try:
        found = read()
    except (CannotTell, ValueError) as error:
        return Unknown(str(error))
    return Absent() if found is None else Known(found)


def release(view: NodeView) -> Release | None:
    """The distribution's release."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        entry = view.entry(path)
        if entry is not None and entry.content is not None:
            return parse_release(entry.content.decode("utf-8", "replace"))
    return None


def _processor(machine: Machine) -> Processor | None:
    found = parse_cpuinfo(machine.kernel_text("/proc/cpuinfo") or "")
    if found is None or found.model:
        return found
    # On ARM the kernel gives numbers only; lscpu has the names.
    return parse_lscpu(machine.look(("lscpu", "-J")).out) or found


def _memory(machine: Machine) -> int | None:
    for line in (machine.kernel_text("/proc/meminfo") or "").split("\n"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _disks(machine: Machine) -> tuple[Disk, ...]:
    # Exit code 1 says that one of the file systems gave no answer; the others are in the output.
    answer = machine.look(DF)
    found = parse_df(answer.out)
    if not found:
        raise CannotTell(f"df: {answer.err.strip() or 'no file system'}")
    return found


def _networks(machine: Machine) -> tuple[Network, ...]:
    return parse_ip(machine.look(("ip", "-j", "address")).out)


def _surroundings(machine: Machine) -> str:
    if machine.in_container():
        return "a container"
    if " hypervisor" not in (machine.kernel_text("/proc/cpuinfo") or ""):
        return "its own hardware"
    words = [machine.kernel_text(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    told = " ".join(word for word in words if word)
    return f"a virtual machine ({told})" if told else "a virtual machine"


def _uptime(machine: Machine) -> float | None:
    text = machine.kernel_text("/proc/uptime")
    return float(text.split()[0]) if text else None


def waiting_for_reboot(view: NodeView) -> tuple[str, ...] | None:
    """The packages that wait for a reboot; None where nothing waits."""
    if view.entry("/run/reboot-required") is None:
        return None
    return tuple(dict.fromkeys((view.text("/run/reboot-required.pkgs") or "").split())) or ("unknown",)


def _others(view: NodeView, path: str) -> str:
    """What stands in a file outside our block; empty where there is none, or where nobody can tell."""
    try:
        entry = view.entry(path)
        text = entry.content.decode("utf-8", "replace") if entry is not None and entry.content else ""
        return "\n".join(line for _, line in outside(text, proxy.MARKERS))
    except (CannotTell, BlockDamaged):
        return ""
