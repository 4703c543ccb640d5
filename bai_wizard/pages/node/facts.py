"""What the first screen tells of a node, and the files that the network's settings go into."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Absent, Fact

ABSENT = Absent()
# Releases that the wizard is made and tested for: id and VERSION_ID of os-release(5).
SUPPORTED = (("ubuntu", "24.04"), ("ubuntu", "26.04"), ("debian", "12"), ("debian", "13"))


@dataclass(frozen=True)
class Release:
    """The distribution's release, as os-release(5) has it."""

    id: str
    version: str
    name: str
    codename: str = ""

    @property
    def is_supported(self) -> bool:
        """True for a release that the wizard is made for."""
        return (self.id, self.version) in SUPPORTED


@dataclass(frozen=True)
class Processor:
    """All processors together. `threads` is what the kernel schedules on, `cores` what is there in silicon."""

    model: str
    sockets: int
    cores: int
    threads: int


@dataclass(frozen=True)
class Disk:
    """A mounted local file system; sizes in bytes, `free` for an ordinary user."""

    source: str
    fstype: str
    target: str
    size: int
    free: int


@dataclass(frozen=True)
class Network:
    """A network interface with its addresses (`10.20.30.20/24`); `state` is the kernel's word (UP, DOWN)."""

    name: str
    state: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class NodeFacts:
    """What a node is. `memory` in bytes, `uptime` in seconds; `reboot` are the packages that wait for one.

    `surroundings` says what the node runs in: «a container», «a virtual machine (KVM)», «its own hardware».
    """

    host: str = ""
    release: Fact[Release] = ABSENT
    kernel: Fact[str] = ABSENT
    processor: Fact[Processor] = ABSENT
    memory: Fact[int] = ABSENT
    disks: Fact[tuple[Disk, ...]] = ABSENT
    networks: Fact[tuple[Network, ...]] = ABSENT
    surroundings: Fact[str] = ABSENT
    uptime: Fact[float] = ABSENT
    reboot: Fact[tuple[str, ...]] = ABSENT
    environment: str = ""
    gitconfig: str = ""
