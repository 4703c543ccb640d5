"""The one door to a node, as a protocol: reads, commands that only look, and primitives that change."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.event import Log, silent
from bai_wizard.core.view import NodeView

if TYPE_CHECKING:
    from bai_wizard.core.primitives import Primitive
    from bai_wizard.core.step import Interrupt


@dataclass(frozen=True)
class Completed:
    """A child that ended. `code` is its exit status, negative for a signal; texts are decoded, redacted."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Disk:
    """A mounted file system of a disk; sizes in bytes."""

    path: str
    fstype: str
    total: int
    used: int


@dataclass(frozen=True)
class Hardware:
    """What the node is made of. Memory in bytes, `booted` in seconds since 1970, `flags` of the processor."""

    processor: str
    flags: tuple[str, ...]
    cores: int
    threads: int
    memory: int
    available: int
    booted: float
    disks: tuple[Disk, ...]


def _never() -> bool:
    return False


class Machine(NodeView):
    """A node that can be read and changed. Which one you got decides what «dry run» means; there is no flag."""

    # Long work of several parts (pulls of images) asks this before each part. Set by the executor.
    should_stop: Callable[[], bool] = staticmethod(_never)
    # A directory of packages (a bundle's) that is then the only source of packages; empty: the node's own sources.
    packages_from: str = ""

    @property
    @abstractmethod
    def is_root(self) -> bool:
        """True when this process may change the node and read all of it."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The node's host name."""

    @abstractmethod
    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        """Runs a command that only reads. Raises CannotTell when it is missing or gives no answer in time."""

    @abstractmethod
    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        """The text of a file under /proc or /sys, stripped; None where it does not exist."""

    @abstractmethod
    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        """Carries one primitive out. Raises StepFailed with the cause in plain words."""

    @abstractmethod
    def affected(self, interrupt: Interrupt) -> tuple[str, ...]:
        """What an interrupt would hit right now: names of running containers, processes on a mount."""

    @abstractmethod
    def free_bytes(self, path: str) -> int:
        """Room for an ordinary user on the file system that holds `path` or its nearest existing parent."""

    @abstractmethod
    def in_container(self) -> bool:
        """True when the node itself is a container, whose kernel belongs to another."""

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        """The container engine's answer to `GET path`, decoded from JSON; None for «no such thing» and «no engine».

        Raises CannotTell when it does not run, refuses, or gives no answer in time. Never starts a stopped engine.
        """
        raise CannotTell("this node's container engine cannot be asked")

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        """Bytes of the file behind an address (http, https or file). Raises CannotTell with the reason."""
        raise CannotTell("this node asks nobody")

    def sweep(self, primitive: Primitive) -> None:
        """Removes what a cut attempt at `primitive` left beside its path. Nothing to do for most machines.

        Raises StepFailed where that cannot be done.
        """

    def load_all(self) -> None:
        """Imports everything that performing may need, before the first change. Nothing to do for most machines."""

    def hardware(self) -> Hardware:
        """Processor, memory, file systems; takes seconds. Raises CannotTell where there is nothing to look at."""
        raise CannotTell("this node's hardware cannot be looked at")
