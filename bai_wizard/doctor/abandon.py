"""Ends a child and all that it started; what the kernel holds is left behind and collected later."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_left_behind: set[int] = set()


def abandon(child: int) -> None:
    """Kills the child's group and those of its descendants: programs that it asked have sessions of their own."""
    for process in [*_descendants(child), child]:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    _left_behind.add(child)
    for each in list(_left_behind):
        with suppress(ChildProcessError):
            if os.waitpid(each, os.WNOHANG)[0] == 0:
                continue
        _left_behind.discard(each)


def _descendants(process: int) -> list[int]:
    """Children of children first. None where the kernel was built without that list."""
    found: list[int] = []
    for task in _names(f"/proc/{process}/task"):
        try:
            with open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                children = [int(word) for word in file.read().split()]
        except OSError:
            continue
        for child in children:
            found += [*_descendants(child), child]
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
