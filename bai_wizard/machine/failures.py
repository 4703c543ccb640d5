"""Errors of the kernel in plain words: what, why, the next thing to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bai_wizard.core.errors import CannotTell, StepFailed

SENTENCES: dict[int, str] = {
    errno.EROFS: "the file system is mounted read-only; look at `dmesg` for the reason and remount it",
    errno.EDQUOT: "the disk quota is used up; old state intact",
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted; `lsattr` shows whether it carries the immutable attribute",
    errno.ELOOP: "a symbolic link stands in the way and was not followed",
    errno.ENOTDIR: "something that is no directory stands in the way",
    errno.EISDIR: "a directory stands in its place",
    errno.EEXIST: "something else stands in its place",
    errno.ENOTEMPTY: "the directory holds files that are not ours: left alone",
    errno.EBUSY: "in use or a mount point: left alone",
    errno.ENOENT: "the directory above it does not exist",
    errno.EIO: "input/output error: the disk or the server has a problem, see `dmesg`",
    errno.ESTALE: "the server no longer knows this mount (stale file handle); unmount and mount it again",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


def plain(error: OSError, path: str) -> str:
    """One sentence about a failed operation on `path`."""
    if error.errno == errno.ENOSPC:
        return f"{path}: no space left on {file_system_of(path)}: old file intact; make room and run `resume`"
    reason = SENTENCES.get(error.errno or 0, (error.strerror or str(error)).lower())
    if type(error).__name__ == "NotOurs":
        reason = f"{error.strerror}, so nothing below it can be trusted; take that right away from them first"
    elif error.errno == errno.ELOOP and error.filename and not path.endswith(str(error.filename)):
        reason += f" ({error.filename})"
    return f"{path}: {reason}"


def file_system_of(path: str) -> str:
    """The mount point that `path` lies on, by device numbers, without touching what lies below it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    while path != "/" and not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


@contextmanager
def changing(path: str) -> Iterator[None]:
    """Turns an OSError into StepFailed with the cause in plain words."""
    try:
        yield
    except OSError as error:
        raise StepFailed(plain(error, path)) from error


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns an OSError into CannotTell with the cause in plain words."""
    try:
        yield
    except PermissionError as error:
        if os.geteuid() != 0:
            raise CannotTell(f"{path}: needs root") from error
        raise CannotTell(plain(error, path)) from error
    except OSError as error:
        raise CannotTell(plain(error, path)) from error
