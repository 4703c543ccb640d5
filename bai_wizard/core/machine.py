"""The only interface to a node: reads, read-only commands, and operations that change it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.event import Log, silent
from bai_wizard.core.state import (
    DPKG_KEY,
    Account,
    Entry,
    Group,
    Image,
    Interpreter,
    Key,
    Library,
    Mount,
    Package,
    Password,
    State,
    Sysctl,
    Tree,
    Unfinished,
    Unit,
    Venv,
    distribution_key,
    image_key,
    interpreter_key,
    member_key,
    package_key,
    tree_key,
    unit_key,
    venv_key,
)

if TYPE_CHECKING:
    from bai_wizard.core.consent import Affected, Interrupt
    from bai_wizard.core.operation import Operation


S = TypeVar("S")
# The most links that the kernel follows in one path (path_resolution(7)).
LONGEST_LINK_CHAIN = 40


class NodeView(ABC):
    """Reads of a node: real, predicted or simulated.

    Any read may raise StateUnknown (no answer, which does not mean absent) or KnownAfterApply (depends on an earlier
    step of the same plan).
    """

    @abstractmethod
    def state(self, key: Key) -> State | None:
        """Return the state of one object; None if it does not exist."""

    @abstractmethod
    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; empty if it does not exist."""

    @abstractmethod
    def accounts(self) -> tuple[Account, ...]:
        """Return all local accounts, in the order of the database."""

    @abstractmethod
    def groups(self) -> tuple[Group, ...]:
        """Return all local groups, in the order of the database."""

    @abstractmethod
    def candidate(self, package: str) -> str | None:
        """Return the version that apt would install now; None if no source offers the package."""

    @abstractmethod
    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        """Return the tree at `path` without `parts`, which are paths below it; None if it does not exist."""

    @abstractmethod
    def changed_at(self, path: str) -> float:
        """Return when a path was last put in place or altered (ctime), in seconds since 1970; 0 if it does not exist.

        Compared with `Unit.since`, so both need sub-second resolution (systemd's monotonic timestamps have it).
        """

    def newer(self, path: str, since: float) -> bool:
        """Whether `path` exists and was altered after `since`."""
        return self.changed_at(path) > since

    def _typed(self, key: Key, wanted: type[S]) -> S | None:
        state = self.state(key)
        if state is not None and not isinstance(state, wanted):
            raise StateUnknown(f"{key}: expected {wanted.__name__}, found {type(state).__name__}")
        return state

    def entry(self, path: str) -> Entry | None:
        """Return the file, directory or link at an absolute path; links are not followed."""
        return self._typed(Key("file", path), Entry)

    def text(self, path: str) -> str | None:
        """Return the text of a file; None if it does not exist. Raises StateUnknown if it is not UTF-8 text."""
        entry = self.entry(path)
        if entry is None:
            return None
        text = entry.text()
        if text is None:
            raise StateUnknown(f"{path} is not a text file ({entry.type})")
        return text

    def behind_links(self, path: str) -> tuple[str, Entry | None]:
        """Return path and entry at the end of a chain of links; None if the link is broken or leads to a device."""
        for _ in range(LONGEST_LINK_CHAIN):
            if path == "/dev/null":
                return path, None
            entry = self.entry(path)
            if entry is None or entry.type != "link":
                return path, entry
            path = normpath(join(dirname(path), entry.target or ""))
        return path, None

    def text_behind_links(self, path: str) -> str | None:
        """Like `text`, as a program gets it that opens the path: for files that only root and packages write.

        Never for files in homes: their owners could have root read any file.
        """
        end, entry = self.behind_links(path)
        return None if entry is None else self.text(end)

    def account(self, name: str) -> Account | None:
        """Return a user by name, local or from a directory service."""
        return self._typed(Key("user", name), Account)

    def group(self, name: str) -> Group | None:
        """Return a group by name, local or from a directory service."""
        return self._typed(Key("group", name), Group)

    def is_member(self, user: str, group: str) -> bool:
        """Whether the group lists the user. The primary group does not count."""
        return self.state(member_key(user, group)) is not None

    def password(self, user: str) -> Password | None:
        """Return the password field of a user. Raises StateUnknown without root."""
        return self._typed(Key("password", user), Password)

    def package(self, name: str) -> Package | None:
        """Return an installed package."""
        return self._typed(package_key(name), Package)

    def unit(self, name: str) -> Unit | None:
        """Return a systemd unit; None if the name is unknown."""
        return self._typed(unit_key(name), Unit)

    def units(self, names: Sequence[str]) -> dict[str, Unit | None]:
        """Return several systemd units at once, by name."""
        return {name: self.unit(name) for name in names}

    def sysctl(self, key: str) -> Sysctl | None:
        """Return a live kernel parameter; None if this kernel does not have it."""
        return self._typed(Key("sysctl", key), Sysctl)

    def mount(self, target: str) -> Mount | None:
        """Return what is mounted at exactly this mount point."""
        return self._typed(Key("mount", target), Mount)

    def image(self, reference: str) -> Image | None:
        """Return an image in the container engine's store."""
        return self._typed(image_key(reference), Image)

    def library(self, name: str) -> Library | None:
        """Return a shared library by a short name ("cudart"), by loading it; None if it cannot be loaded."""
        return self._typed(Key("library", name), Library)

    def tree(self, path: str) -> Tree | None:
        """Return a directory tree created as a whole."""
        return self._typed(tree_key(path), Tree)

    def interpreter(self, path: str) -> Interpreter | None:
        """Return the Python installation in a directory; None if it does not exist."""
        return self._typed(interpreter_key(path), Interpreter)

    def venv(self, path: str) -> Venv | None:
        """Return a virtual environment; None if it does not exist."""
        return self._typed(venv_key(path), Venv)

    def distribution(self, venv: str, name: str) -> Package | None:
        """Return a Python package in a virtual environment, by its normalized name."""
        return self._typed(distribution_key(venv, name), Package)

    def unfinished(self) -> Unfinished | None:
        """Return dpkg's interrupted work; None without any, or while another program is working on it."""
        return self._typed(DPKG_KEY, Unfinished)

    def immutable(self, path: str) -> bool:
        """Whether the directory has the immutable attribute."""
        return self.state(Key("immutable", path)) is not None


class Completed(Struct, frozen=True):
    """A child process that has ended.

    `code` is its exit status, negative for a signal; text is decoded and redacted.
    """

    code: int
    out: str
    err: str


class Processor(Struct, frozen=True):
    """All processors together: `cores` are physical, `threads` logical."""

    model: str
    flags: tuple[str, ...]
    cores: int
    threads: int


class Memory(Struct, frozen=True):
    """Main memory in bytes."""

    total: int
    available: int


class Space(Struct, frozen=True):
    """Bytes of a file system: available to unprivileged users, and total (0 if unknown)."""

    free: int
    total: int = 0


class Disk(Struct, frozen=True):
    """A mounted local file system; sizes in bytes, `free` is the space available to unprivileged users."""

    source: str
    fstype: str
    path: str
    total: int
    used: int
    free: int


class Interface(Struct, frozen=True):
    """A network interface with its addresses (`10.20.30.20/24`); `state` is the kernel's term (UP, DOWN)."""

    name: str
    state: str
    addresses: tuple[str, ...] = ()


class Hardware(Struct, frozen=True):
    """What the parts of `Machine.hardware` return; `uptime` in seconds."""

    processor: Processor | None = None
    memory: Memory | None = None
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    uptime: float | None = None


HardwarePart = Literal["processor", "memory", "disks", "interfaces", "uptime"]


def _never() -> bool:
    return False


class Machine(NodeView):
    """A node that can be read and changed.

    It has no dry-run flag: pass a simulated or predicted node instead.
    """

    # Long operations with several parts (image pulls) check this before each part. Set by the executor.
    should_stop: Callable[[], bool] = staticmethod(_never)
    # A directory of packages (from a bundle) that becomes the only package source; empty: the node's own sources.
    packages_from: str = ""
    # A directory of wheels (from a bundle) that becomes the only source of Python packages; empty: as planned.
    wheels_from: str = ""

    @property
    @abstractmethod
    def is_root(self) -> bool:
        """Whether this process can change the node and read all of it."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The node's host name."""

    @abstractmethod
    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        """Run a read-only command. Raises StateUnknown if it is missing or does not answer in time."""

    @abstractmethod
    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        """Return the stripped text of a file under /proc or /sys; None if it does not exist."""

    @abstractmethod
    def apply(self, operation: Operation, log: Log = silent) -> None:
        """Execute one operation. Raises StepFailed with the cause in plain words."""

    @abstractmethod
    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        """Return what an interruption would affect now: containers, GPU users or mounts. Raises StateUnknown."""

    @abstractmethod
    def space(self, path: str) -> Space:
        """Return the space on the file system of `path` or its nearest existing parent. Raises StateUnknown."""

    def free_bytes(self, path: str) -> int:
        """Return the bytes available to unprivileged users, as `space` does."""
        return self.space(path).free

    @abstractmethod
    def in_container(self) -> bool:
        """Whether the node itself is a container, whose kernel belongs to its host."""

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        """Return the container engine's answer to `GET path` as JSON; None if it or the object does not exist.

        Raises StateUnknown if the engine is not running, refuses, or does not answer in time. Never starts a stopped
        engine.
        """
        raise StateUnknown("the container engine of this node cannot be queried")

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        """Return the size in bytes of the file at a URL (http, https or file).

        Raises StateUnknown with the reason.
        """
        raise StateUnknown("this node cannot contact other hosts")

    def run_hook(self, argv: Sequence[str], log: Log = silent, *, deadline: float) -> Completed:
        """Run the operator's program and log its output. Raises StateUnknown if it is missing or times out."""
        raise StateUnknown("this node runs no hooks")

    def helpers(self) -> AbstractContextManager[None]:
        """Keep the processes that read as other accounts until the block ends, instead of one for each read."""
        return nullcontext()

    def refusal(self, operation: Operation) -> str:
        """Explain why the node would refuse `operation` now (in use, for example); empty if no reason is known.

        Raises StateUnknown.
        """
        return ""

    def sweep(self, operation: Operation) -> None:
        """Remove what an interrupted attempt at `operation` left beside its path. A no-op on most machines.

        Raises StepFailed if that is not possible.
        """

    def clear_caches(self) -> None:
        """Remove the caches of programs that ran as an account in this run. A no-op on most machines.

        Raises StepFailed, StateUnknown.
        """

    def package_tool(self) -> str:
        """Describe the package tool that an executor started and that is still running; empty without one."""
        return ""

    def wait_for_package_tool(self, log: Log = silent, *, taken: bool = False) -> None:
        """Wait for the package tool of an executor that has exited, showing its output and exit status.

        `taken`: its result is not reported again.
        """

    def load_all(self) -> None:
        """Import everything that `apply` may need, before the first change. A no-op on most machines."""

    def hardware(self, part: HardwarePart) -> Any:
        """Return one part of the node's hardware, of the type that `Hardware` declares. Raises StateUnknown."""
        raise StateUnknown("the hardware of this node cannot be inspected")
