"""Probe a node: every fact separately and concurrently, so that one that does not respond delays no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_interface
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Disk, Interface, Machine, Memory, NodeView, Processor
from bai_wizard.core.page import Absent, Context, Fact, Probing, Unknown, read_fact
from bai_wizard.core.parse import os_release
from bai_wizard.pages.node.pam_env import pam_environment
from bai_wizard.pages.node.settings import NetworkSettings
from bai_wizard.pages.node.steps import ENVIRONMENT, GITCONFIG, MARKERS
from bai_wizard.pages.node_state import is_package_before
from bai_wizard.steps.files import BlockDamaged, drop_block, put_block

ABSENT = Absent()
# Releases for which the wizard is made and tested: ID and VERSION_ID of os-release(5).
SUPPORTED = (("ubuntu", "24.04"), ("ubuntu", "26.04"), ("debian", "12"), ("debian", "13"))


class Release(Struct, frozen=True):
    """The distribution's release, from os-release(5)."""

    id: str
    version: str
    name: str
    codename: str = ""

    @property
    def is_supported(self) -> bool:
        """Whether the wizard supports this release."""
        return (self.id, self.version) in SUPPORTED


class NodeFacts(Struct, frozen=True):
    """The current state of a node. `uptime` in seconds; `reboot` are packages that need one.

    `surroundings` is the platform: "a container", "a virtual machine (KVM)", "bare metal". `environment` are the
    variables that others set for logins; `is_environment_cut`: a login does not read our block in that file.
    """

    host: str = ""
    release: Fact[Release] = ABSENT
    kernel: Fact[str] = ABSENT
    processor: Fact[Processor] = ABSENT
    memory: Fact[Memory] = ABSENT
    disks: Fact[tuple[Disk, ...]] = ABSENT
    networks: Fact[tuple[Interface, ...]] = ABSENT
    surroundings: Fact[str] = ABSENT
    uptime: Fact[float] = ABSENT
    reboot: Fact[tuple[str, ...]] = ABSENT
    environment: tuple[str, ...] = ()
    is_environment_cut: bool = False
    gitconfig: str = ""


# Prefixes of interfaces that the kernel creates for containers, traffic shaping and tests.
VIRTUAL_INTERFACES = ("veth", "ifb", "dummy", "docker", "br-")


def parse_release(text: str) -> Release:
    """Parse os-release(5)."""
    values = os_release(text)
    return Release(*(values.get(name, "") for name in ("ID", "VERSION_ID", "PRETTY_NAME", "VERSION_CODENAME")))


class Piece(NamedTuple):
    """One fact: how it is read, and its timeout in seconds."""

    read: Callable[[Machine], Any]
    deadline: float


def probe(machine: Machine, settings: NetworkSettings, context: Context) -> NodeFacts:
    """Return the facts of the node."""
    return probe_telling(machine, settings, context, lambda _facts: None)


def probe_telling(
    machine: Machine, settings: NetworkSettings, context: Context, tell: Callable[[NodeFacts], None]
) -> NodeFacts:
    """Return the facts of the node; each is read in a thread that is abandoned when it does not finish in time."""
    begun = time.monotonic()
    answers: SimpleQueue[tuple[str, Fact[Any]]] = SimpleQueue()
    result: dict[str, Any] = {name: Probing.within(piece.deadline) for name, piece in PIECES.items()}

    for name, piece in PIECES.items():
        Thread(target=_answer, args=(machine, name, piece, answers), daemon=True, name=f"node {name}").start()
    while waiting := [name for name, fact in result.items() if isinstance(fact, Probing)]:
        tell(NodeFacts(machine.host, **result))
        left = min(PIECES[name].deadline for name in waiting) - (time.monotonic() - begun)
        try:
            name, fact = answers.get(timeout=max(0.0, left))
        except Empty:
            result |= {
                name: Unknown(f"no response within {PIECES[name].deadline:g} s") for name in _late(waiting, begun)
            }
        else:
            # A result that arrived too late was already reported as missing.
            result[name] = fact if isinstance(result[name], Probing) else result[name]
    names, is_cut = _logins(machine)
    gitconfig = _others(machine, GITCONFIG)
    return NodeFacts(machine.host, **result, environment=names, is_environment_cut=is_cut, gitconfig=gitconfig)


def _answer(machine: Machine, name: str, piece: Piece, answers: SimpleQueue[tuple[str, Fact[Any]]]) -> None:
    fact: Fact[Any]
    try:
        fact = read_fact(lambda: piece.read(machine))
    except ValueError as error:
        fact = Unknown(str(error))
    except Exception as error:  # noqa: BLE001 - would otherwise be lost in the thread
        fact = Unknown(f"{type(error).__name__}: {error}")
    answers.put((name, fact))


def _late(waiting: list[str], begun: float) -> list[str]:
    return [name for name in waiting if time.monotonic() - begun >= PIECES[name].deadline]


def release(view: NodeView) -> Release | None:
    """Return the distribution's release."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        entry = view.entry(path)
        if entry is not None and entry.content is not None:
            return parse_release(entry.content.decode("utf-8", "replace"))
    return None


def _disks(machine: Machine) -> tuple[Disk, ...]:
    """Return one mount of each file system with space of its own, the one closest to the root."""
    result: dict[str, Disk] = {}
    for disk in machine.hardware("disks"):
        known = result.get(disk.source)
        if disk.total and disk.fstype != "squashfs" and (known is None or len(disk.path) < len(known.path)):
            result[disk.source] = disk
    if not result:
        raise StateUnknown("no local file systems")
    return tuple(result.values())


def _networks(machine: Machine) -> tuple[Interface, ...]:
    """Return the interfaces without loopback and those of containers, and without link-local addresses."""
    result = []
    for each in machine.hardware("interfaces"):
        addresses = tuple(text for text in each.addresses if not ip_interface(text).is_link_local)
        if each.name != "lo" and (addresses or not each.name.startswith(VIRTUAL_INTERFACES)):
            result.append(Interface(each.name, each.state, addresses))
    return tuple(result)


def _environment(machine: Machine) -> str:
    if machine.in_container():
        return "a container"
    if " hypervisor" not in (machine.kernel_text("/proc/cpuinfo") or ""):
        return "bare metal"
    words = [machine.kernel_text(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    message = " ".join(word for word in words if word)
    return f"a virtual machine ({message})" if message else "a virtual machine"


def waiting_for_reboot(view: NodeView) -> tuple[str, ...] | None:
    """Return the packages waiting for a reboot; None if no reboot is pending."""
    if view.entry("/run/reboot-required") is None:
        return None
    return tuple(dict.fromkeys((view.text("/run/reboot-required.pkgs") or "").split())) or ("unknown",)


def _others(view: NodeView, path: str, encoding: str = "utf-8") -> str:
    """The text of a file outside our block; empty without such text, or if it is unknown."""
    try:
        return drop_block(_text(view, path, encoding), MARKERS)
    except (StateUnknown, BlockDamaged):
        return ""


def _logins(view: NodeView) -> tuple[tuple[str, ...], bool]:
    """The variables that others set for logins; and whether logins do not read our block in the same file."""
    # Latin-1 keeps every byte.
    others = _others(view, ENVIRONMENT, "latin-1")
    is_old = is_package_before(view, "libpam-modules", (1, 6))
    names = tuple(pam_environment(others.encode("latin-1"), before_1_6=is_old))
    try:
        text = put_block(_text(view, ENVIRONMENT, "latin-1"), MARKERS, ("BAI_WIZARD=1",))
    except (StateUnknown, BlockDamaged):
        return names, False  # the step that writes the block reads it again and reports the reason
    return names, "BAI_WIZARD" not in pam_environment(text.encode("latin-1"), before_1_6=is_old)


def _text(view: NodeView, path: str, encoding: str) -> str:
    entry = view.entry(path)
    return entry.content.decode(encoding, "replace") if entry is not None and entry.content else ""


# Each timeout is a little longer than that of the read itself, whose error message is more specific.
PIECES: dict[str, Piece] = {
    "release": Piece(release, 3.0),
    "kernel": Piece(lambda machine: machine.kernel_text("/proc/sys/kernel/osrelease"), 3.0),
    "surroundings": Piece(_environment, 6.0),
    "processor": Piece(lambda machine: machine.hardware("processor"), 11.0),
    "memory": Piece(lambda machine: machine.hardware("memory"), 3.0),
    "uptime": Piece(lambda machine: machine.hardware("uptime"), 3.0),
    "reboot": Piece(waiting_for_reboot, 3.0),
    "disks": Piece(_disks, 6.0),
    "networks": Piece(_networks, 6.0),
}
