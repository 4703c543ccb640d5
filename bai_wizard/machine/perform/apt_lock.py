"""Who holds the package manager's locks. Asked of the kernel: the lock files themselves are always there."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log

LOCKS = (
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
)
# struct flock of 64-bit Linux: type, whence, start, length, pid, and the padding behind it.
FLOCK = "hhqqi4x"
POLL_SECONDS = 0.5
TELL_SECONDS = 15.0


def holder(root: Path) -> str:
    """`unattended-upgr (process 1234)` for the first lock that is held, empty when all are free."""
    for name in LOCKS:
        pid = _locked_by(root / name)
        if pid:
            return f"{_program(pid)} (process {pid})"
    return ""


def wait_for_locks(root: Path, patience: float, log: Log, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Waits until nobody holds the locks, saying who does.

    Raises StepFailed after `patience` seconds, and as soon as the run is asked to stop.
    """
    begun = time.monotonic()
    told = -TELL_SECONDS
    while who := holder(root):
        waited = time.monotonic() - begun
        if should_stop():
            raise StepFailed(f"stopped as asked, while {who} was using the package manager; nothing was changed")
        if waited >= patience:
            raise StepFailed(
                f"{who} has been using the package manager for {waited:.0f} s. Wait until it ends, then repeat;"
                " never end it by force and never delete its lock files"
            )
        if waited - told >= TELL_SECONDS:
            told = waited
            log(f"waiting for {who}, which is using the package manager ({patience - waited:.0f} s left)")
        time.sleep(POLL_SECONDS)


def _locked_by(path: Path) -> int:
    """The process that holds a lock on the file; 0 for none, or where the file is missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    try:
        question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return 0 if answer[0] == fcntl.F_UNLCK else max(answer[4], 1)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() or "another program"
    except OSError:
        return "another program"
