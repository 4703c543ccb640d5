"""What is mounted where, from /proc/self/mountinfo."""

from __future__ import annotations

import re
import select
import threading
from dataclasses import dataclass

from bai_wizard.core.state import Mount

# Their servers may be gone while the mount stays: every touch may hang.
REMOTE = re.compile(
    r"nfs|nfs4|cifs|smb3|smbfs|ceph|lustre|9p|afs|beegfs|gpfs|glusterfs|wekafs|panfs|ocfs2|gfs2|autofs|fuse(\..+|blk)?"
)
_REMOTE_LINE = re.compile(rb" - (?:" + REMOTE.pattern.encode() + rb") ")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class MountLine:
    """One line of mountinfo. `root` is the part of the file system that is mounted, `/` for all of it.

    `device` are its numbers. `follows`: unmounting it elsewhere reaches this one too (shared or slave).
    """

    point: str
    root: str
    source: str
    fstype: str
    options: str
    device: str = ""
    follows: bool = False

    def mount(self) -> Mount:
        """As a state. A part of a file system (bind mount, subvolume) is written `source[/part]`, as findmnt does."""
        source = self.source if self.root == "/" else f"{self.source}[{self.root}]"
        return Mount(source, self.fstype, self.options)


def unescape(field: str) -> str:
    """Blanks, tabs, line ends and backslashes stand as octal escapes."""
    if "\\" not in field:
        return field
    raw = _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
    return raw


def parse_mountinfo(text: str) -> tuple[MountLine, ...]:
    """Every mount, in the kernel's order: a later one at the same point covers the earlier."""
    found = []
    for line in text.split("\n"):
        own, separator, rest = line.partition(" - ")
        left, right = own.split(" "), rest.split(" ")
        if not separator or len(left) < 6 or len(right) < 3:
            continue
        # Options of the mount first, then those of the file system which are not the same words.
        options = dict.fromkeys([*left[5].split(","), *" ".join(right[2:]).split(",")])
        if "ro" in left[5].split(","):
            options.pop("rw", None)
        root, point, fstype, source = (unescape(field) for field in (left[3], left[4], right[0], right[1]))
        follows = any(tag.startswith(("shared:", "master:")) for tag in left[6:])
        found.append(MountLine(point, root, source, fstype, ",".join(options), left[2], follows))
    return tuple(found)


def read_mountinfo(root: str = "") -> tuple[MountLine, ...]:
    """The mounts of the node below `root`; none where it has no mountinfo."""
    try:
        with open(f"{root}/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return parse_mountinfo(file.read())
    except FileNotFoundError:
        return ()


def mount_at(point: str, lines: tuple[MountLine, ...]) -> Mount | None:
    """What is mounted at exactly this point: the topmost mount."""
    covering = [line for line in lines if line.point == point]
    return covering[-1].mount() if covering else None


def mount_of(path: str, lines: tuple[MountLine, ...]) -> MountLine | None:
    """The mount that a path lies on, by its name alone: nothing is touched."""
    best: MountLine | None = None
    for line in lines:
        if is_below(path, line.point) and (best is None or len(line.point) >= len(best.point)):
            best = line
    return best


def is_below(path: str, top: str) -> bool:
    """True when `path` is `top` or lies below it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


class RemoteMounts:
    """The mounts of the running node whose servers may be gone; read again only when the kernel says they changed."""

    def __init__(self) -> None:
        # The kernel reports a change of the mounts as an urgent event of this file (proc(5), mountinfo).
        self._file = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 - open for as long as the process
        self._changes = select.poll()
        self._changes.register(self._file, select.POLLPRI)
        # Pages are probed side by side, and a poll object refuses two at once.
        self._lock = threading.Lock()
        self._points = self._read()

    def cross(self, path: str) -> bool:
        """True when a path lies on or below such a mount."""
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
        return tuple(line.point for line in lines if REMOTE.fullmatch(line.fstype))
