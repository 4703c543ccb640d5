"""The wizard's cache: root's own directories below /var/cache/bai-wizard, which undo does not compare."""

from __future__ import annotations

import os
import stat
from hashlib import sha256

from bai_wizard.core.errors import StepFailed
from bai_wizard.machine.failures import changing

CACHE = "/var/cache/bai-wizard"


def make_directory(path: str) -> None:
    """Makes a directory and its parents, 0755. Raises StepFailed where one on the way is not root's alone."""
    walked = ""
    with changing(path):
        for part in path.strip("/").split("/"):
            walked += f"/{part}"
            if not os.path.lexists(walked):
                os.mkdir(walked, 0o755)
                os.chmod(walked, 0o755)  # noqa: S103 - programs and archives that accounts read
            status = os.lstat(walked)
            if not stat.S_ISDIR(status.st_mode):
                raise StepFailed(f"{walked} is no directory: remove it, then resume")
            if status.st_uid not in (0, os.geteuid()) or (
                status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX
            ):
                raise StepFailed(f"{walked} can be changed by others: make it root's with mode 0755, then resume")


def keep_program(path: str, name: str) -> str:
    """A copy of a program that every account can execute; its name carries its hash, so it never goes stale."""
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
            os.fchmod(file.fileno(), 0o755)
            os.fsync(file.fileno())
        os.rename(f"{kept}.new", kept)
    for other in os.listdir(directory):
        if other.startswith(f"{name}-") and f"{directory}/{other}" != kept:
            os.unlink(f"{directory}/{other}")
    return kept


def write(path: str, text: str) -> None:
    """A small file in the cache."""
    with changing(path):
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{path}.new", 0o644)
        os.rename(f"{path}.new", path)
