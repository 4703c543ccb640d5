"""Looks at a node: every fact apart and all at once, so that one without an answer costs nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from bai_wizard.core.blocks import BlockDamaged, outside
from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Asked, Fact, Known, Unknown
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


class Piece(NamedTuple):
    """One fact: how it is read, and for how long it is waited for at most, in seconds."""

    read: Callable[[Machine], Any]
    deadline: float


def probe(machine: Machine, settings: NetworkSettings, context: Context) -> NodeFacts:
    """The facts of the node."""
    return probe_telling(machine, settings, context, lambda _facts: None)


def probe_telling(
    machine: Machine, settings: NetworkSettings, context: Context, tell: Callable[[NodeFacts], None]
) -> NodeFacts:
    """The facts of the node, each asked in a thread that is left behind when it does not answer in time."""
    begun = time.monotonic()
    answers: SimpleQueue[tuple[str, Fact[Any]]] = SimpleQueue()
    found: dict[str, Any] = {name: Asked.within(piece.deadline) for name, piece in PIECES.items()}

    for name, piece in PIECES.items():
        Thread(target=_answer, args=(machine, name, piece, answers), daemon=True, name=f"node {name}").start()
    while waiting := [name for name, fact in found.items() if isinstance(fact, Asked)]:
        tell(NodeFacts(machine.host, **found))
        left = min(PIECES[name].deadline for name in waiting) - (time.monotonic() - begun)
        try:
            name, fact = answers.get(timeout=max(0.0, left))
        except Empty:
            found |= {
                name: Unknown(f"no answer within {PIECES[name].deadline:g} s") for name in _late(waiting, begun)
            }
        else:
            # An answer that came too late was told to be missing.
            found[name] = fact if isinstance(found[name], Asked) else found[name]
    environment, gitconfig = _others(machine, proxy.ENVIRONMENT), _others(machine, proxy.GITCONFIG)
    return NodeFacts(machine.host, **found, environment=environment, gitconfig=gitconfig)


def _answer(machine: Machine, name: str, piece: Piece, answers: SimpleQueue[tuple[str, Fact[Any]]]) -> None:
    try:
        fact = _fact(lambda: piece.read(machine))
    except Exception as error:  # noqa: BLE001 - in a thread nobody else would hear of it
        fact = Unknown(f"{type(error).__name__}: {error}")
    answers.put((name, fact))


def _late(waiting: list[str], begun: float) -> list[str]:
    return [name for name in waiting if time.monotonic() - begun >= PIECES[name].deadline]


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


# Each a little longer than what the reads themselves wait for, whose reasons say more.
PIECES: dict[str, Piece] = {
    "release": Piece(release, 3.0),
    "kernel": Piece(lambda machine: machine.kernel_text("/proc/sys/kernel/osrelease"), 3.0),
    "surroundings": Piece(_surroundings, 6.0),
    "processor": Piece(_processor, 8.0),
    "memory": Piece(_memory, 3.0),
    "uptime": Piece(_uptime, 3.0),
    "reboot": Piece(waiting_for_reboot, 3.0),
    "disks": Piece(_disks, 6.0),
    "networks": Piece(_networks, 6.0),
}
