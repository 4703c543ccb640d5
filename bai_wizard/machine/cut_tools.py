"""What a shadow tool that was killed leaves in /etc: its lock files, and databases that were not put in place yet."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bai_wizard.core.errors import StepFailed
from bai_wizard.machine.failures import changing

# `passwd+` is the new file before its rename, `passwd.4711` a lock file before it gets its name, `passwd.lock` the
# lock of a process by its number, which after a reboot may be anybody's: then every tool would wait for it in vain.
LEFT = re.compile(r"(?:passwd|shadow|group|gshadow|subuid|subgid)(?:\+|\.lock|\.[0-9]+)")
# As long as lckpwdf(3) and the tools themselves wait, in seconds.
PATIENCE = 15.0


def sweep_databases(prefix: str) -> None:
    """Removes it, under the lock that every one of these tools holds while it works: so none of it is in use.

    A tool that outlived the wizard is waited for. Raises StepFailed where the lock cannot be had.
    """
    with changing(f"{prefix}/etc"), _lock(f"{prefix}/etc/.pwd.lock"):
        for name in os.listdir(f"{prefix}/etc"):
            if LEFT.fullmatch(name):
                os.unlink(f"{prefix}/etc/{name}")


@contextmanager
def _lock(path: str) -> Iterator[None]:
    """The lock of lckpwdf(3)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > limit:
                    raise StepFailed(f"{path}: another program has held this lock for {PATIENCE:g} s") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
