"""Who is using what, from /proc: by names of open files, nothing is touched that could hang."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from bai_wizard.machine.readers.mounts import is_below

NVIDIA_DEVICES = "/dev/nvidia"


def processes_using(wanted: Callable[[str], bool], root: str = "") -> tuple[str, ...]:
    """`name (pid)` of every process that has an open file, a directory or a program that `wanted` names."""
    found = []
    for pid in _pids(root):
        if any(wanted(path) for path in _paths(f"{root}/proc/{pid}")):
            found.append(f"{_name(root, pid)} ({pid})")
    return tuple(found)


def users_of_mount(point: str, root: str = "") -> tuple[str, ...]:
    """The processes that keep a mount point busy."""
    return processes_using(lambda path: is_below(path, point), root)


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
