"""The wizard's cache: directories of root below /var/cache/bai-wizard, which undo does not compare."""

from __future__ import annotations

import os
import stat
from hashlib import sha256

from bai_wizard.core.errors import StepFailed
from bai_wizard.node.error_hints import changing
from bai_wizard.node.regular import sync_directory

CACHE = "/var/cache/bai-wizard"
# Copies of what a run uses from a bundle.
BUNDLES = f"{CACHE}/bundles"
# Time limit in seconds for removing a cache of some ten thousand files on a slow disk.
CLEAR = 180.0


def make_directory(path: str) -> None:
    """Create a directory and its parents, 0755. Raises StepFailed if others can change any of them."""
    walked = ""
    with changing(path):
        for part in path.strip("/").split("/"):
            walked += f"/{part}"
            if not os.path.lexists(walked):
                os.mkdir(walked, 0o755)
                os.chmod(walked, 0o755)  # noqa: S103 - programs and archives that accounts read
            status = os.lstat(walked)
            if not stat.S_ISDIR(status.st_mode):
                raise StepFailed(f"{walked} is not a directory: remove it, then resume")
            if status.st_uid not in (0, os.geteuid()) or (
                status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX
            ):
                raise StepFailed(f"{walked} can be changed by other users: chown it to root, mode 0755, then resume")


def account_cache(uid: int, gid: int) -> str:
    """Return a cache directory for programs that run as an account, outside its home so that undo ignores it.

    All environments of a run share it; `clear_account_caches` removes it at the end of the run. Raises StepFailed.
    """
    directory = f"{CACHE}/accounts"
    make_directory(directory)
    path = f"{directory}/{uid}"
    with changing(path):
        if not os.path.lexists(path):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
        # Only root can create it here: a killed run may have stopped before this point.
        if stat.S_ISDIR(status.st_mode) and os.geteuid() == 0 and status.st_uid == 0:
            os.chown(path, uid, gid, follow_symlinks=False)
            status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
            raise StepFailed(f"{path} is not a directory of UID {uid}: remove it, then resume")
    return path


def clear_account_caches() -> None:
    """Remove the accounts' cache directories: their content as each account, the directories themselves as root.

    Raises StepFailed.
    """
    from bai_wizard.node.run_as import Identity, run_as

    directory = f"{CACHE}/accounts"
    if not os.path.isdir(directory):
        return
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        with changing(path):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                identity = Identity(status.st_uid, status.st_gid, ()) if os.geteuid() == 0 and status.st_uid else None
                run_as(identity, _empty, path, deadline=CLEAR)
                os.rmdir(path)
    with changing(directory):
        os.rmdir(directory)


def _empty(path: str) -> None:
    import shutil

    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def keep_program(path: str, name: str) -> str:
    """Return a copy of a program that every account can execute.

    Its name contains its hash, so it never goes stale.
    """
    with open(path, "rb") as file:
        data = file.read()
    directory = f"{CACHE}/bin"
    make_directory(directory)
    kept = f"{directory}/{name}-{sha256(data).hexdigest()[:16]}"
    if os.path.exists(kept) and os.path.getsize(kept) == len(data):
        return kept
    with changing(kept):
        descriptor = os.open(f"{kept}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o755)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o755)
            os.fsync(file.fileno())
        os.rename(f"{kept}.new", kept)
        sync_directory(directory)
    for other in os.listdir(directory):
        if other.startswith(f"{name}-") and f"{directory}/{other}" != kept:
            os.unlink(f"{directory}/{other}")
    return kept


def write(path: str, text: str) -> None:
    """Write a small file to the cache."""
    with changing(path):
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{path}.new", 0o644)
        os.rename(f"{path}.new", path)
