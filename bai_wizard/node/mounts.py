"""What is mounted where, from /proc/self/mountinfo."""

from __future__ import annotations

import re
import select
import threading
from functools import lru_cache

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.parse import decode_octal
from bai_wizard.core.paths import MAY_HANG, may_hang
from bai_wizard.core.state import Mount, is_below
from bai_wizard.node.regular import open_foreign, read_all

LARGEST = 64 << 20

_REMOTE_LINE = re.compile(rb" - (?:" + MAY_HANG.encode() + rb") ")


class MountLine(Struct, frozen=True):
    """One line of mountinfo. `root` is the mounted part of the file system, `/` for all of it.

    `device` is its device number. `follows`: unmounting it elsewhere propagates to this mount (shared or slave).
    """

    point: str
    root: str
    source: str
    fstype: str
    options: str
    device: str = ""
    follows: bool = False

    def mount(self) -> Mount:
        """Return the state.

        A part of a file system (bind mount, subvolume) is written `source[/part]`, as in findmnt.
        """
        source = self.source if self.root == "/" else f"{self.source}[{self.root}]"
        return Mount(source, self.fstype, self.options, self.device)


# A plan queries many mount points, and container hosts have tens of thousands of mounts.
@lru_cache(maxsize=2)
def parse_mountinfo(text: str) -> tuple[MountLine, ...]:
    """Parse all mounts, in the kernel's order: a later one at the same point covers the earlier."""
    result = []
    for line in text.split("\n"):
        own, separator, rest = line.partition(" - ")
        left, right = own.split(" "), rest.split(" ")
        if not separator or len(left) < 6 or len(right) < 3:
            continue
        # Mount options first, then the file system's options without duplicates.
        options = dict.fromkeys([*left[5].split(","), *" ".join(right[2:]).split(",")])
        if "ro" in left[5].split(","):
            options.pop("rw", None)
        root, point, fstype, source = (decode_octal(field) for field in (left[3], left[4], right[0], right[1]))
        follows = any(tag.startswith(("shared:", "master:")) for tag in left[6:])
        result.append(MountLine(point, root, source, fstype, ",".join(options), left[2], follows))
    return tuple(result)


def read_mountinfo(root: str = "") -> tuple[MountLine, ...]:
    """Return the mounts of the node below `root`; empty without mountinfo."""
    try:
        with open_foreign(f"{root}/proc/self/mountinfo") as file:
            return parse_mountinfo(read_all(file, LARGEST).decode(errors="surrogateescape"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StateUnknown(f"/proc/self/mountinfo: {(error.strerror or str(error)).lower()}") from error


def mount_at(point: str, lines: tuple[MountLine, ...]) -> Mount | None:
    """Return the topmost mount at exactly this point."""
    covering = [line for line in lines if line.point == point]
    return covering[-1].mount() if covering else None


def mount_of(path: str, lines: tuple[MountLine, ...]) -> MountLine | None:
    """Return the mount that contains a path, judged by its name alone: nothing is accessed."""
    best: MountLine | None = None
    for line in lines:
        if is_below(path, line.point) and (best is None or len(line.point) >= len(best.point)):
            best = line
    return best


class RemoteMounts:
    """The running node's mounts whose servers may be gone; re-read only when the kernel reports a change."""

    def __init__(self) -> None:
        # The kernel reports mount changes as a priority event on this file (proc(5), mountinfo).
        self._file = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 - open for as long as the process
        self._changes = select.poll()
        self._changes.register(self._file, select.POLLPRI)
        # Pages are probed concurrently, and a poll object cannot be used by two threads at once.
        self._lock = threading.Lock()
        self._points = self._read()

    def cross(self, path: str) -> bool:
        """Whether a path is on or below such a mount."""
        with self._lock:
            if self._changes.poll(0):
                self._points = self._read()
        return any(is_below(path, point) for point in self._points)

    def _read(self) -> tuple[str, ...]:
        self._file.seek(0)
        data = self._file.read()
        if _REMOTE_LINE.search(data) is None:
            return ()
        lines = parse_mountinfo(data.decode(errors="surrogateescape"))
        return tuple(line.point for line in lines if may_hang(line.fstype))
