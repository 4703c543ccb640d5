"""Read regular files with a size limit, and replace them completely or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from bai_wizard.core.errors import StepFailed


def open_regular(path: str, *, directory: int | None = None, follow: bool = False) -> int:
    """Return a descriptor for reading.

    With `follow`, links are followed; otherwise the last component must not be one.

    The target is checked before it is opened, so that a device, FIFO or socket is never opened: that may block
    forever or have side effects. Raises OSError; EINVAL for anything but a regular file.
    """
    result = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), dir_fd=directory)
    try:
        mode = os.fstat(result).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {kind_of(mode)}, not a regular file", path)
        return os.open(f"/proc/self/fd/{result}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(result)


def open_foreign(path: str) -> BinaryIO:
    """Open a file for reading, following links. Raises OSError: IsADirectoryError, or EINVAL for a FIFO or device."""
    try:
        return os.fdopen(open_regular(path, follow=True), "rb")
    except OSError as error:
        if error.errno == errno.EINVAL and os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, error.strerror, path) from error
        raise


def is_locked(descriptor: int) -> bool:
    """Whether another process holds an exclusive flock on this open file. Never blocks. Close it afterwards."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


# Bytes per read. The kernel rejects reads of 4 MiB and more from /proc/sys with ENOMEM.
PIECE = 1 << 16


def read_all(file: BinaryIO, largest: int) -> bytes:
    """Return the whole content. Raises OSError with EFBIG for more than `largest` bytes."""
    chunks, size = [], 0
    while chunk := file.read(PIECE):
        size += len(chunk)
        if size > largest:
            raise OSError(errno.EFBIG, f"it is larger than {largest} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def kind_of(mode: int) -> str:
    """Describe a file type by its mode."""
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
    return kinds.get(stat.S_IFMT(mode), "of unknown type")


# Descriptors that the caller opened, `<(ssh node cat report.json)`, and standard input by its other names.
PASSED_ON = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/[0-9]+")
# Seconds that a pipe may stay silent: `<(vault read …)` may have to query a server first.
PIPE_DEADLINE = 30.0


def read_given(path: str, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes, or of a pipe passed by the caller.

    Raises OSError, and ValueError with a reason that continues a sentence starting with the file name.
    """
    descriptor = _open(path)
    try:
        data = read_up_to(descriptor, limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ValueError(f"is larger than {limit // 2**20} MiB")
    return data


def read_up_to(descriptor: int, limit: int) -> bytes:
    """Return the content, or its first `limit` bytes. Raises OSError, and ValueError as in `read_given`."""
    chunks, size = [], 0
    while size < limit and (chunk := _read(descriptor, limit - size)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def _open(path: str) -> int:
    if "\0" in path:
        raise ValueError("is not a valid path")
    if not PASSED_ON.fullmatch(path):
        return open_regular(path, follow=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        os.close(descriptor)
        raise ValueError("is neither a regular file nor a pipe")
    return descriptor


def _read(descriptor: int, size: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, min(size, 1 << 20))
        except BlockingIOError:
            # A pipe whose writer is still working; one without a writer returns end-of-file immediately.
            if not select.select([descriptor], [], [], PIPE_DEADLINE)[0]:
                raise ValueError(f"sent no data for {PIPE_DEADLINE:.0f} seconds") from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError, also for numbers that only Python accepts, such as NaN."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not valid JSON: {error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


# Changes to one name in an open directory that are applied completely or not at all.
#
# The temporary name is always the same for a file, so the next change removes what a killed process left behind. It
# begins with a dot and contains another one, so no program treats it as a drop-in.

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
IN_PLACE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def temporary(name: str) -> str:
    """Return the name of the file that will be renamed to `name`; short enough for any file system."""
    return f".{name[:200]}.bai-wizard-new"


def write_at(
    directory: int,
    name: str,
    content: bytes,
    uid: int,
    gid: int,
    mode: int,
    check: Callable[[str], None] | None = None,
) -> None:
    """Put a whole file in place with its final owner and mode.

    `check` gets the temporary name and raises StepFailed if the content must not be put in place. A file that cannot
    be replaced because it is a mount point (EBUSY) is written in place instead.
    """
    _refuse_other_types(directory, name)
    try:
        with _renamed(directory, name) as new:
            descriptor = os.open(new, NEW, 0o600, dir_fd=directory)
            try:
                _fill(descriptor, content, uid, gid, mode)
            finally:
                os.close(descriptor)
            if check is not None:
                check(new)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        _write_in_place(directory, name, content, uid, gid, mode)
        sync(directory)


@contextmanager
def _renamed(directory: int, name: str) -> Iterator[str]:
    """Yield the temporary name of something new, and rename it at the end; after an error it is removed."""
    new = temporary(name)
    sweep_at(directory, name)
    try:
        yield new
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        sweep_at(directory, name)
        raise
    sync(directory)


def link_at(directory: int, name: str, target: str, uid: int, gid: int) -> None:
    """Create a symbolic link, replacing a file or another link."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    with _renamed(directory, name) as new:
        os.symlink(target, new, dir_fd=directory)
        _own(lambda: os.chown(new, uid, gid, dir_fd=directory, follow_symlinks=False), uid, gid)


def directory_at(directory: int, name: str, uid: int, gid: int, mode: int) -> None:
    """Create a directory with owner and mode; an existing one gets them, and its content is unchanged."""
    if _is_there(directory, name):
        sweep_at(directory, name)
        _set_attributes(directory, name, uid, gid, mode)
        return
    with _renamed(directory, name) as new:
        os.mkdir(new, 0o700, dir_fd=directory)
        _set_attributes(directory, new, uid, gid, mode)


def remove_at(directory: int, name: str) -> None:
    """Remove a file, a link or an empty directory if it exists. Raises ENOTEMPTY for a directory in use."""
    sweep_at(directory, name)
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    sync(directory)


def sweep_at(directory: int, name: str) -> None:
    """Remove what a killed write of `name` left behind."""
    with suppress(FileNotFoundError):
        try:
            os.unlink(temporary(name), dir_fd=directory)
        except IsADirectoryError:
            os.rmdir(temporary(name), dir_fd=directory)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _set_attributes(directory: int, name: str, uid: int, gid: int, mode: int) -> None:
    """Set the owner and mode of a directory."""
    descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        _attributes(descriptor, uid, gid, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_other_types(directory: int, name: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise StepFailed(f"{name} is a device, a socket or a FIFO: not changed")


def _write_in_place(directory: int, name: str, content: bytes, uid: int, gid: int, mode: int) -> None:
    """Write new content to the same inode, for a bind-mounted file. The journal holds the old content."""
    descriptor = os.open(name, IN_PLACE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StepFailed(f"{name} is not a regular file: not changed")
        # Reserve the space first: the old content must not be lost before the new one fits.
        os.posix_fallocate(descriptor, 0, max(1, len(content)))
        _fill(descriptor, content, uid, gid, mode)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, content: bytes, uid: int, gid: int, mode: int) -> None:
    view, offset = memoryview(content), 0
    while offset < len(view):
        offset += os.pwrite(descriptor, view[offset:], offset)
    os.ftruncate(descriptor, len(view))
    _attributes(descriptor, uid, gid, mode)
    os.fsync(descriptor)


def _attributes(descriptor: int, uid: int, gid: int, mode: int) -> None:
    state = os.fstat(descriptor)
    if (state.st_uid, state.st_gid) != (uid, gid):
        _own(lambda: os.fchown(descriptor, uid, gid), uid, gid)
    # After the owner, because changing the owner clears set-id bits.
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _own(change: Callable[[], None], uid: int, gid: int) -> None:
    try:
        change()
    except PermissionError as error:
        if os.geteuid() == 0:
            raise
        raise StepFailed(f"uid {os.geteuid()} cannot change the owner of a path to {uid}:{gid}") from error


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make creations and renames in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(directory: int) -> None:
    """Make the directory change durable. The given descriptor may not support fsync itself."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
