"""What one name in an open directory is: reads that cannot hang on a FIFO and follow no link."""

from __future__ import annotations

import os
import stat

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.state import Entry, EntryKind

# Configuration files are small; a larger one is known by its attributes only.
LARGEST_READ = 8 << 20
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_at(directory: int, name: str) -> Entry | None:
    """The entry of a name, None where there is none. The content is None above 8 MiB.

    Raises OSError as the kernel does, CannotTell when the name changes while it is read.
    """
    try:
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(state.st_mode):
            return _entry("link", state, target=os.readlink(name, dir_fd=directory))
        if stat.S_ISDIR(state.st_mode):
            return _entry("directory", state)
        if not stat.S_ISREG(state.st_mode):
            return _entry("other", state)
        descriptor = os.open(name, READ, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise CannotTell(f"{name} changed while it was read")
        return _entry("file", state, content=_content(descriptor))
    finally:
        os.close(descriptor)


def names_at(directory: int, name: str) -> list[str]:
    """The names in a directory, sorted; none where it does not exist or is no directory. Links are not followed."""
    try:
        descriptor = os.open(name, READ | os.O_DIRECTORY, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def changed_at(directory: int, name: str) -> float:
    """The ctime of a name in seconds since 1970."""
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime


def _content(descriptor: int) -> bytes | None:
    pieces, size = [], 0
    while piece := os.read(descriptor, 1 << 20):
        size += len(piece)
        if size > LARGEST_READ:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _entry(
    type_: EntryKind, state: os.stat_result, *, content: bytes | None = None, target: str | None = None
) -> Entry:
    return Entry(type_, state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode), content, target)
