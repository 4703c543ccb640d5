"""Files that the operator requested by name: reports, saved answers, support bundles, a draft.

The path is resolved component by component (`safe_path`). Root writes in directories that only root can change and in
sticky ones such as /tmp; below any other directory a child with the owner's IDs writes. Under sudo the file belongs
to the user who called sudo. The content is written under a new name first and then renamed, so no existing file is
ever opened for writing. Every refusal is a PreflightError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from bai_wizard.core.errors import PreflightError, StateUnknown
from bai_wizard.node.accounts import AccountFiles
from bai_wizard.node.error_hints import explain_os_error
from bai_wizard.node.files import operate, read_at
from bai_wizard.node.regular import DIRECTORY, NEW, sync
from bai_wizard.node.run_as import invoker, run_as
from bai_wizard.node.safe_path import SafePath, UntrustedDirectory, absolute

Written = Literal["new", "same", "older kept"]

# Time limit in seconds for the whole path and the file with its fsync; a dead NFS server exceeds it.
DEADLINE = 60.0
CHECK_DEADLINE = 10.0


def check_requested_file(path: str, *, replace: bool = True) -> None:
    """Raise PreflightError if `write_requested_file` would refuse; creates no file."""
    _at(path, _check_at, path, replace, deadline=CHECK_DEADLINE)


def write_requested_file(
    path: str,
    data: bytes,
    *,
    replace: bool = True,
    keep_older: bool = False,
    parents: bool = False,
    mode: int = 0o600,
) -> Written:
    """Put a whole file in place and return what happened; "same" only with `keep_older`.

    An existing file is replaced only if it is a regular file of root or of the invoking user; `keep_older` renames it
    to `NAME~`. `parents` creates missing directories, 0700. Raises PreflightError.
    """
    if parents:
        make_requested_directory(os.path.dirname(absolute(path)))
    done: Written = _at(path, _write_at, path, data, replace, keep_older, mode, answer=str)
    return done


def make_requested_directory(path: str, mode: int = 0o700) -> None:
    """Create a directory and its missing parents, with the owner that a file there would get.

    An existing last component is not checked. Raises PreflightError.
    """
    walked = ""
    for part in absolute(path).strip("/").split("/"):
        walked += f"/{part}"
        _at(walked, _make_directory_at, mode)


def _at(path: str, operation: Callable[..., Any], *args: Any, answer: Any = None, deadline: float = DEADLINE) -> Any:
    """Run `operation(open directory, last name, owner, trusted owners, *args)` with the required privileges."""
    target = absolute(path)
    try:
        return run_as(None, _reach, target, operation, args, answer, deadline, answer=answer, deadline=deadline)
    except OSError as error:
        reason = explain_os_error("user-file", error)
        raise PreflightError(f"{path} cannot be written: {reason}") from error
    except StateUnknown as error:
        raise PreflightError(f"{path} cannot be written: {error}") from error


def _reach(target: str, operation: Callable[..., Any], args: tuple[Any, ...], answer: Any, deadline: float) -> Any:
    caller = invoker()
    me = os.geteuid()
    trusted = {0, me, *([caller[0]] if caller else [])}
    try:
        with SafePath("/", AccountFiles(), sticky=True).open_parent(target) as parent:
            if parent.identity is None:
                owner = caller or (me, os.getegid())
                return operate(parent.directory, parent.remaining, operation, (owner, trusted, *args))
            identity = parent.identity
            if caller and identity.uid == caller[0]:
                identity = identity._replace(gid=caller[1])
            owner = (identity.uid, identity.gid)
            return run_as(
                identity, operate, parent.directory, parent.remaining, operation, (owner, trusted, *args),
                answer=answer, keep=(parent.directory,), deadline=deadline,
            )  # fmt: skip
    except UntrustedDirectory as error:
        raise PreflightError(f"{target} cannot be written: {error.strerror}") from error


def _check_at(
    directory: int, name: str, _owner: tuple[int, int], trusted: set[int], path: str, replace: bool
) -> None:
    _refuse_existing(directory, name, trusted, path, replace)
    # Access rights are not enough: /proc, /sys, an immutable directory or a full file system accept no new files.
    new = f".bai-wizard-{os.urandom(8).hex()}.new"
    os.close(os.open(new, NEW, 0o600, dir_fd=directory))
    os.unlink(new, dir_fd=directory)


def _write_at(
    directory: int,
    name: str,
    owner: tuple[int, int],
    trusted: set[int],
    path: str,
    data: bytes,
    replace: bool,
    keep_older: bool,
    mode: int,
) -> Written:
    exists = _refuse_existing(directory, name, trusted, path, replace)
    if exists and keep_older:
        if _has_content(directory, name, data):
            return "same"
        _refuse_existing(directory, f"{name}~", trusted, f"{path}~", replace)
    new = f".bai-wizard-{os.urandom(8).hex()}.new"
    descriptor = os.open(new, NEW, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            # A FAT file system stores no owners and modes: the mount options determine them.
            with suppress(PermissionError):
                os.fchown(descriptor, *owner)
            with suppress(PermissionError):
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        if exists and keep_older:
            os.rename(name, f"{name}~", src_dir_fd=directory, dst_dir_fd=directory)
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=directory)
        raise
    with suppress(PermissionError):  # a directory that can be written but not read
        sync(directory)
    return "older kept" if exists and keep_older else "new"


def _refuse_existing(directory: int, name: str, trusted: set[int], path: str, replace: bool) -> bool:
    """Whether a file of that name exists. Raises PreflightError if it must not be replaced."""
    try:
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"))
    kind = next((word for test, word in kinds if test(state.st_mode)), "")
    if kind or not stat.S_ISREG(state.st_mode):
        raise PreflightError(f"{path} is {kind or 'not a regular file'}; choose another name")
    if state.st_uid not in trusted:
        raise PreflightError(f"{path} belongs to another user (UID {state.st_uid}); choose another name")
    if state.st_nlink > 1:
        raise PreflightError(f"{path} has more than one hard link; choose another name")
    if not replace:
        raise PreflightError(f"{path} already exists; choose another name")
    return True


def _has_content(directory: int, name: str, data: bytes) -> bool:
    with suppress(PermissionError, StateUnknown):
        entry = read_at(directory, name)
        return entry is not None and entry.content == data
    return False


def _make_directory_at(directory: int, name: str, owner: tuple[int, int], _trusted: set[int], mode: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=directory)
    except FileExistsError:
        # Resolving the next component decides about a link, and rejects anything that is not a directory.
        return
    descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            with suppress(PermissionError):
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
