"""Live kernel parameters."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome
from bai_wizard.core.state import Key, State, States, Sysctl, Unpredictable
from bai_wizard.node.error_hints import explain_os_error
from bai_wizard.node.regular import open_foreign, read_all
from bai_wizard.resources import performs, reads

if TYPE_CHECKING:
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine


class SetSysctl(Operation, frozen=True):
    """One live kernel parameter. The fields of `value` are joined by single spaces."""

    kind: ClassVar[str] = "set-sysctl"
    key: str
    value: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("sysctl", self.key),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        return {self.keys()[0]: replace(old, value=self.value) if isinstance(old, Sysctl) else Sysctl(self.value)}

    def inverse(self, before: States) -> Operation | None:
        old = before[self.keys()[0]]
        return SetSysctl(self.key, old.value) if isinstance(old, Sysctl) else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        old = before.value if isinstance(before, Sysctl) else None
        return Change(self.key, "modify", old, self.value, "live")

    def simulate(self, node: Simulation) -> States:
        live = node.states.get(self.keys()[0])
        if not isinstance(live, Sysctl) or not live.writable:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), f"{self.key} = {self.value}")
        return {}


LARGEST = 1 << 20

# In a container these belong to the node although the rest of their subtree belongs to the host: System V IPC and
# POSIX queues are in the IPC namespace, the names in the UTS namespace (namespaces(7)).
NAMESPACED = (
    "kernel.shm",
    "kernel.msg",
    "kernel.sem",
    "kernel.auto_msgmni",
    "kernel.hostname",
    "kernel.domainname",
    "fs.mqueue.",
    "user.",
    "net.",
)


@reads("sysctl")
def sysctl_state(machine: LocalMachine, key: str) -> Sysctl | None:
    """Return a live kernel parameter; None if this kernel does not have it."""
    return read_sysctl(key, machine.prefix, in_container=machine.in_container())


def sysctl_path(key: str) -> str:
    """Return the file of a key below /proc/sys.

    As in sysctl(8), the first separator decides: `net/ipv4/conf/eth0.1/x`.

    Raises ValueError if it is not a key.
    """
    first = next((sign for sign in key if sign in "./"), ".")
    parts = key.split(first)
    if first == ".":
        # If the separator is a dot, a slash represents a dot in a name: `net.ipv4.conf.eth0/1.forwarding`.
        parts = [part.replace("/", ".") for part in parts]
    if not key or any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise ValueError(f"not a sysctl key: {key!r}")
    return "/proc/sys/" + "/".join(parts)


def read_sysctl(key: str, root: str, *, in_container: bool) -> Sysctl | None:
    """Return a live value; None if this kernel does not have the key. Raises StateUnknown."""
    try:
        path = root + sysctl_path(key)
    except ValueError as error:
        raise StateUnknown(str(error)) from error
    try:
        with open_foreign(path) as file:
            text = read_all(file, LARGEST).decode(errors="replace")
            state = os.fstat(file.fileno())
            read_only = bool(os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StateUnknown(f"{key}: cannot be read ({reason})") from error
    # The kernel clears the write bits if a namespace cannot set a key (net.core.rmem_max in a container).
    settable = bool(state.st_mode & 0o222) and not read_only
    return Sysctl(normal(text), settable and not (in_container and belongs_to_host(key)))


def normal(text: str) -> str:
    """Normalize a value: the kernel writes tabs between fields, files have spaces."""
    return " ".join(text.split())


def belongs_to_host(key: str) -> bool:
    """Whether a container shares the key with its host."""
    return not key.replace("/", ".").startswith(NAMESPACED)


@performs(SetSysctl)
def set_sysctl(machine: LocalMachine, operation: SetSysctl, log: Log) -> None:
    """Set one parameter. Raises StepFailed naming key and value if the kernel rejects it."""
    path = machine.prefix + sysctl_path(operation.key)
    try:
        # One write of the whole value, as the kernel requires; truncation is for a root with plain files.
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{operation.value}\n".encode())
        finally:
            os.close(descriptor)
        with open(path, encoding="utf-8", errors="replace") as file:
            result = normal(file.read())
    except OSError as error:
        reason = explain_os_error("sysctl", error)
        raise StepFailed(f"{operation.key} = {operation.value}: {reason}") from error
    if result != operation.value:
        raise StepFailed(f"{operation.key} = {operation.value}: the kernel set it to {result!r}")
