"""Files and directories of the node, accessed with the identity that owns the directory above."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bai_wizard.core.errors import StateUnknown, StepFailed
from bai_wizard.core.parse import whole
from bai_wizard.core.state import Entry, EntryKind
from bai_wizard.node import regular
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.error_hints import changing, reading
from bai_wizard.node.mounts import RemoteMounts
from bai_wizard.node.regular import READ
from bai_wizard.node.run_as import run_as
from bai_wizard.node.safe_path import SafePath, open_rest

# linux/fs.h; the values for 64-bit x86 and ARM.
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
# Errors of file systems without such attributes (tmpfs, NFS, overlay on an old kernel).
UNSUPPORTED = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
# The number of open_tree(2) on every architecture. The copy is not attached: it is reachable only by its descriptor.
SYS_OPEN_TREE = 428
OPEN_TREE_CLONE, AT_EMPTY_PATH = 1, 0x1000
# Root in a user namespace, as in an unprivileged container, can never set the attribute.
WHOLE_NODE = ["0", "0", "4294967295"]
PR_CAPBSET_READ, CAP_LINUX_IMMUTABLE = 23, 9


def immutable_at(directory: int, name: str) -> bool:
    """Whether a name has the attribute; false if the file system does not support it."""
    descriptor = os.open(name, READ, dir_fd=directory)
    try:
        return bool(_flags(descriptor) & FS_IMMUTABLE_FL)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    finally:
        os.close(descriptor)


def set_immutable_at(directory: int, name: str, immutable: bool) -> None:
    """Set or clear the attribute. Raises OSError if the file system does not support it."""
    descriptor = os.open(name, READ | os.O_DIRECTORY, dir_fd=directory)
    try:
        flags = _flags(descriptor)
        wanted = flags | FS_IMMUTABLE_FL if immutable else flags & ~FS_IMMUTABLE_FL
        if wanted != flags:
            fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", wanted))
    finally:
        os.close(descriptor)


def immutable_below_at(directory: int, name: str) -> bool:
    """Whether a directory hidden by a mount has the attribute; the mount is not accessed.

    Raises OSError if the kernel cannot show it or its file system lacks the attribute. If the attribute is not set
    and cannot be set, OSError has the reason: ENOTEMPTY (hidden files have to be moved away first), EROFS (a
    read-only file system), EPERM (a container without the privilege).
    """
    with _without_mounts(directory) as below:
        descriptor = os.open(name, READ | os.O_DIRECTORY, dir_fd=below)
        try:
            if _flags(descriptor) & FS_IMMUTABLE_FL:
                return True
            obstacle = errno.ENOTEMPTY if os.listdir(descriptor) else _obstacle(descriptor)
            if obstacle:
                raise OSError(obstacle, os.strerror(obstacle))
            return False
        finally:
            os.close(descriptor)


def set_immutable_below_at(directory: int, name: str, immutable: bool) -> None:
    """Set or clear the attribute of a directory hidden by a mount; the mount is not accessed."""
    with _without_mounts(directory) as below:
        set_immutable_at(below, name, immutable)


def _obstacle(descriptor: int) -> int:
    """Return the error number that setting the attribute would fail with; 0 if no obstacle is known."""
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return errno.EROFS
    with open("/proc/self/uid_map", encoding="ascii") as users:
        is_whole_node = users.read().split() == WHOLE_NODE
    if not is_whole_node or ctypes.CDLL(None).prctl(PR_CAPBSET_READ, CAP_LINUX_IMMUTABLE, 0, 0, 0) != 1:
        return errno.EPERM
    return 0


@contextmanager
def _without_mounts(directory: int) -> Iterator[int]:
    """Yield a descriptor of the same directory without the mounts in it. Needs root and Linux 5.2."""
    syscall: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | os.O_CLOEXEC
    descriptor = syscall(ctypes.c_long(SYS_OPEN_TREE), directory, b"", ctypes.c_uint(flags))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0))
    (flags,) = struct.unpack("l", answer)
    return whole(flags) & 0xFFFFFFFF


# Configuration files are small; for larger files only the attributes are read.
LARGEST_READ = 8 << 20


def read_at(directory: int, name: str) -> Entry | None:
    """Return the entry for a name; None if it does not exist. The content is omitted above 8 MiB.

    Raises OSError as the kernel does, StateUnknown if the name changes while it is read.
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
            raise StateUnknown(f"{name} changed while it was read")
        return _entry("file", state, content=_content(descriptor))
    finally:
        os.close(descriptor)


def names_at(directory: int, name: str) -> list[str]:
    """Return the sorted names in a directory; empty if it does not exist or is not a directory.

    Links are not followed.
    """
    try:
        descriptor = os.open(name, READ | os.O_DIRECTORY, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def change_time_at(directory: int, name: str) -> float:
    """Return the ctime of a name in seconds since 1970."""
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_ctime


def _content(descriptor: int) -> bytes | None:
    chunks, size = [], 0
    while chunk := os.read(descriptor, 1 << 20):
        size += len(chunk)
        if size > LARGEST_READ:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _entry(
    type_: EntryKind, state: os.stat_result, *, content: bytes | None = None, target: str | None = None
) -> Entry:
    return Entry(type_, state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode), content, target)


# Time limit in seconds for one read, and for one change with its fsync, in a child.
READ_DEADLINE = 5.0
WRITE_DEADLINE = 60.0

Operation = Callable[..., Any]


class Files:
    """The files below a root directory. Reads raise StateUnknown and changes StepFailed, each with the cause.

    In directories that only root can change, root acts itself; below any other directory a child acts with the
    owner's privileges. Network file systems are always accessed by a child that can be abandoned.
    """

    def __init__(self, root: str, accounts: AccountFiles) -> None:
        self._root = root
        self._walker = SafePath(root, accounts)
        self._remote = RemoteMounts() if root == "/" else None

    def read(self, path: str) -> Entry | None:
        """Return the entry at a path, without following links; None if it does not exist."""
        with reading(path):
            entry = self._at(path, read_at, (), Entry | None, READ_DEADLINE, absent=None)
        assert entry is None or isinstance(entry, Entry)
        return entry

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; empty if it does not exist."""
        with reading(path):
            if path.strip("/") == "":
                return tuple(sorted(os.listdir(self._root)))
            return tuple(self._at(path, names_at, (), list[str], READ_DEADLINE, absent=()))

    def changed_at(self, path: str) -> float:
        """Return when a path was last changed (ctime), in seconds since 1970; 0 if it does not exist."""
        with reading(path):
            return float(self._at(path, change_time_at, (), float, READ_DEADLINE, absent=0.0))

    def write(
        self, path: str, content: bytes, uid: int, gid: int, mode: int, check: Callable[[str], None] | None = None
    ) -> None:
        """Put a whole file in place. `check` gets the path of the temporary file and may raise StepFailed."""
        with changing(path):
            self._at(path, regular.write_at, (content, uid, gid, mode), None, WRITE_DEADLINE, check=check)

    def make_directory(self, path: str, uid: int, gid: int, mode: int) -> None:
        """Create a directory with owner and mode; its parent must exist."""
        with changing(path):
            self._at(path, regular.directory_at, (uid, gid, mode), None, WRITE_DEADLINE)

    def make_link(self, path: str, target: str, uid: int, gid: int) -> None:
        """Create a symbolic link, replacing a file or another link."""
        with changing(path):
            self._at(path, regular.link_at, (target, uid, gid), None, WRITE_DEADLINE)

    def remove(self, path: str) -> None:
        """Remove a file, a link or an empty directory."""
        with changing(path):
            self._at(path, regular.remove_at, (), None, WRITE_DEADLINE, absent=None)

    def sweep(self, path: str) -> None:
        """Remove what a killed write of this path left beside it."""
        with changing(path):
            self._at(path, regular.sweep_at, (), None, WRITE_DEADLINE, absent=None)

    def is_immutable(self, path: str, *, below: bool = False) -> bool:
        """Whether a file or directory has the immutable attribute; `below` checks the directory under a mount."""
        with reading(path):
            operation = immutable_below_at if below else immutable_at
            return bool(self._at(path, operation, (), bool, READ_DEADLINE, absent=False))

    def set_immutable(self, path: str, immutable: bool, *, below: bool = False) -> None:
        """Set or clear the immutable attribute of a directory; `below` changes the directory under a mount."""
        with changing(path):
            operation = set_immutable_below_at if below else set_immutable_at
            self._at(path, operation, (immutable,), None, WRITE_DEADLINE)

    def look_below(self, path: str, operation: Operation, *args: Any, answer: Any, deadline: float) -> Any:
        """Return the result of `operation(open directory, last name, *args)` at `path`; None if it does not exist.

        `answer` is the type of the result, which may have to be passed from a child.
        """
        with reading(path):
            return self._at(path, operation, args, answer, deadline, absent=None)

    def change_below(self, path: str, operation: Operation, *args: Any, deadline: float) -> None:
        """Run `operation(open directory, last name, *args)` to change what is at `path`, if it exists."""
        with changing(path):
            self._at(path, operation, args, None, deadline, absent=None)

    def change_as_root(self, path: str, operation: Operation, *args: Any) -> None:
        """Like `change_below`, but always as root, even where another account owns a parent directory.

        `operation` must not follow links.
        """
        with changing(path), self._walker.open_parent(path) as parent:
            operate(parent.directory, parent.remaining, operation, args)

    def _at(
        self,
        path: str,
        operation: Operation,
        args: tuple[Any, ...],
        answer: Any,
        deadline: float,
        *,
        absent: Any = ...,
        check: Callable[[str], None] | None = None,
    ) -> Any:
        try:
            if self._remote is not None and self._remote.cross(path):
                if check is not None:
                    raise StepFailed(
                        f"{path} is on a network file system, which is not suitable for system configuration"
                    )
                return run_as(None, self._reach, path, operation, args, answer, deadline, answer=answer,
                                  deadline=deadline)  # fmt: skip
            return self._reach(path, operation, args, answer, deadline, check)
        except (FileNotFoundError, NotADirectoryError):
            if absent is ...:
                raise
            return absent

    def _reach(
        self,
        path: str,
        operation: Operation,
        args: tuple[Any, ...],
        answer: Any,
        deadline: float,
        check: Callable[[str], None] | None = None,
    ) -> Any:
        with self._walker.open_parent(path) as parent:
            if parent.identity is None:
                if check is None:
                    return operate(parent.directory, parent.remaining, operation, args)
                above = os.path.join(self._root, parent.path.lstrip("/"))
                named = (*args, lambda name: check(os.path.join(above, name)))
                return operate(parent.directory, parent.remaining, operation, named)
            if check is not None:
                raise StepFailed(
                    f"{path} is below {parent.path}, which does not belong to root: not suitable for this file"
                )
            from bai_wizard.node.helper import operate_as

            return operate_as(parent.identity, parent.directory, parent.remaining, operation, args,
                              answer=answer, deadline=deadline)  # fmt: skip


def operate(directory: int, rest: tuple[str, ...], operation: Operation, args: tuple[Any, ...]) -> Any:
    """Run `operation(open directory, last name, *args)` at the end of the path `rest` below `directory`."""
    here = open_rest(directory, rest)
    try:
        return operation(here, rest[-1], *args)
    finally:
        os.close(here)
