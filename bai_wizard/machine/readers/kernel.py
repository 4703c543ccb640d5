"""Live kernel parameters, and whether they are this node's to set."""

from __future__ import annotations

import os

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Sysctl

# In a container these are the node's own although their first part is the host's: System V IPC and POSIX queues
# belong to the IPC namespace, the names to the UTS namespace (namespaces(7)).
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


def sysctl_path(key: str) -> str:
    """The file of a key below /proc/sys. As in sysctl(8), the first separator decides: `net/ipv4/conf/eth0.1/x`.

    Raises ValueError for what is no key.
    """
    first = next((sign for sign in key if sign in "./"), ".")
    parts = key.split(first)
    if first == ".":
        # Between dots a slash stands for a dot in a name: `net.ipv4.conf.eth0/1.forwarding`.
        parts = [part.replace("/", ".") for part in parts]
    if not key or any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise ValueError(f"not a sysctl key: {key!r}")
    return "/proc/sys/" + "/".join(parts)


def read_sysctl(key: str, root: str, *, in_container: bool) -> Sysctl | None:
    """A live value, None where this kernel does not have the key. Raises CannotTell."""
    try:
        path = root + sysctl_path(key)
    except ValueError as error:
        raise CannotTell(str(error)) from error
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
            state = os.fstat(file.fileno())
            read_only = bool(os.fstatvfs(file.fileno()).f_flag & os.ST_RDONLY)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise CannotTell(f"{key}: cannot be read ({error.strerror})") from error
    # The kernel takes the write bits away where a namespace may not set a key (net.core.rmem_max in a container).
    settable = bool(state.st_mode & 0o222) and not read_only
    return Sysctl(normal(text), settable and not (in_container and belongs_to_host(key)))


def normal(text: str) -> str:
    """A value as states carry it: the kernel writes tabs between fields, files have blanks."""
    return " ".join(text.split())


def belongs_to_host(key: str) -> bool:
    """True for a key that a container shares with its host."""
    return not key.replace("/", ".").startswith(NAMESPACED)
