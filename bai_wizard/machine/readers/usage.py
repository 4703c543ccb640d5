"""Who is using what, from /proc: by names of open files, nothing is touched that could hang."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from bai_wizard.machine.readers.mounts import MountLine, is_below, parse_mountinfo, read_mountinfo

NVIDIA_DEVICES = "/dev/nvidia"


def processes_using(wanted: Callable[[str], bool], root: str = "") -> tuple[str, ...]:
    """`name (pid)` of every process that has an open file, a directory or a program that `wanted` names."""
    found = []
    for pid in _pids(root):
        if any(wanted(path) for path in _paths(f"{root}/proc/{pid}")):
            found.append(f"{_name(root, pid)} ({pid})")
    return tuple(found)


def users_of_mount(point: str, root: str = "") -> tuple[str, ...]:
    """The processes that keep a mount point busy, and one of each container that has a part of it for itself."""
    by_name = processes_using(lambda path: is_below(path, point), root)
    return tuple(dict.fromkeys((*by_name, *_containers_with(point, root))))


def _containers_with(point: str, root: str) -> Iterator[str]:
    """`name (pid)` for each mount namespace that would keep what is unmounted here. Paths in it are not ours."""
    ours = [line for line in read_mountinfo(root) if is_below(line.point, point)]
    seen = {_namespace(f"{root}/proc/self")}
    for pid in _pids(root) if ours else ():
        namespace = _namespace(f"{root}/proc/{pid}")
        if not namespace or namespace in seen:
            continue
        seen.add(namespace)
        theirs = [line for line in _mounts_of(f"{root}/proc/{pid}") if not line.follows]
        if any(_is_part(line, whole) for line in theirs for whole in ours):
            yield f"{_name(root, pid)} ({pid})"


def _is_part(line: MountLine, whole: MountLine) -> bool:
    """NFS tells the part in its source, every other file system as the root of the mount."""
    if line.device != whole.device or not is_below(line.root, whole.root):
        return False
    return not whole.fstype.startswith("nfs") or is_below(line.source, whole.source)


def _namespace(process: str) -> str:
    try:
        return os.readlink(f"{process}/ns/mnt")
    except OSError:
        return ""  # gone meanwhile, or another user's and we are not root


def _mounts_of(process: str) -> tuple[MountLine, ...]:
    try:
        with open(f"{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return parse_mountinfo(file.read())
    except OSError:
        return ()  # gone meanwhile


def users_of_gpus(root: str = "") -> tuple[str, ...]:
    """The processes that hold an NVIDIA device open; the persistence daemon does not count."""
    found = processes_using(lambda path: path.startswith(NVIDIA_DEVICES), root)
    return tuple(process for process in found if not process.startswith("nvidia-persiste"))


def _pids(root: str) -> Iterator[str]:
    own = str(os.getpid())
    try:
        yield from (name for name in os.listdir(f"{root}/proc") if name.isdecimal() and name != own)
    except FileNotFoundError:
        return


def _paths(process: str) -> Iterator[str]:
    try:
        descriptors = [f"fd/{name}" for name in os.listdir(f"{process}/fd")]
    except OSError:
        descriptors = []  # gone meanwhile, a kernel thread, or another user's and we are not root
    for link in ("cwd", "root", "exe", *descriptors):
        try:
            path = os.readlink(f"{process}/{link}")
        except OSError:
            continue
        if path != "/":
            yield path.removesuffix(" (deleted)")


def _name(root: str, pid: str) -> str:
    try:
        with open(f"{root}/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "process"
