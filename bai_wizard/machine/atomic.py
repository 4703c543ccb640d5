"""Changes of one name in an open directory that are either made wholly or not at all.

The temporary name is always the same for a file, so that what a kill leaves behind is swept by the next change.
It begins with a dot and contains another one: no reader of a drop-in directory takes it for a configuration.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from bai_wizard.core.errors import StepFailed

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
IN_PLACE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def temporary(name: str) -> str:
    """The name of the file that will be renamed to `name`; short enough for any file system."""
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
    """Puts a whole file in place with its final owner and mode.

    `check` gets the temporary name and raises StepFailed when the content must not come into place.
    A file that cannot be replaced because it is a mount point (EBUSY) is written in place instead.
    """
    _refuse_other_types(directory, name)
    new = temporary(name)
    sweep_at(directory, name)
    try:
        descriptor = os.open(new, NEW, 0o600, dir_fd=directory)
        try:
            _fill(descriptor, content, uid, gid, mode)
        finally:
            os.close(descriptor)
        if check is not None:
            check(new)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as error:
        sweep_at(directory, name)
        if error.errno != errno.EBUSY:
            raise
        _write_in_place(directory, name, content, uid, gid, mode)
    except BaseException:
        sweep_at(directory, name)
        raise
    _sync(directory)


def link_at(directory: int, name: str, target: str, uid: int, gid: int) -> None:
    """Puts a symbolic link in place of nothing, of a file or of another link."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    new = temporary(name)
    sweep_at(directory, name)
    try:
        os.symlink(target, new, dir_fd=directory)
        _own(lambda: os.chown(new, uid, gid, dir_fd=directory, follow_symlinks=False), uid, gid)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        sweep_at(directory, name)
        raise
    _sync(directory)


def directory_at(directory: int, name: str, uid: int, gid: int, mode: int) -> None:
    """A directory with owner and mode; one that exists gets them, its content is left alone."""
    sweep_at(directory, name)
    if _is_there(directory, name):
        _dress(directory, name, uid, gid, mode)
        return
    new = temporary(name)
    try:
        os.mkdir(new, 0o700, dir_fd=directory)
        _dress(directory, new, uid, gid, mode)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        sweep_at(directory, name)
        raise
    _sync(directory)


def remove_at(directory: int, name: str) -> None:
    """Removes a file, a link or an empty directory; nothing there is fine. ENOTEMPTY for a directory in use."""
    sweep_at(directory, name)
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    _sync(directory)


def sweep_at(directory: int, name: str) -> None:
    """Removes what a killed write of `name` left behind."""
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


def _dress(directory: int, name: str, uid: int, gid: int, mode: int) -> None:
    """Gives a directory its owner and mode."""
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
            raise StepFailed(f"{name} is a device, a socket or a pipe: left alone")


def _write_in_place(directory: int, name: str, content: bytes, uid: int, gid: int, mode: int) -> None:
    """For a bind-mounted file: the same inode gets the new content. The journal holds the old one."""
    descriptor = os.open(name, IN_PLACE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StepFailed(f"{name} is no regular file: left alone")
        # Room first: the old content must not be gone before the new one fits.
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
    # After the owner, for a change of owner clears set-id bits.
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _own(change: Callable[[], None], uid: int, gid: int) -> None:
    try:
        change()
    except PermissionError as error:
        if os.geteuid() == 0:
            raise
        raise StepFailed(f"uid {os.geteuid()} may not give a path to {uid}:{gid}") from error


def _sync(directory: int) -> None:
    """The directory's own change survives a power cut. Its descriptor may be one that cannot be synced itself."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
