"""Waiting in tests: for a condition, up to a limit that only a hang reaches.

A test must not compare a duration with a number of seconds: a busy machine exceeds it sooner or later
(tests/unit/test_time_limits.py). To show that something does not wait, let it hang for longer than PATIENCE, and run
it in `ends`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds after which something hangs, however busy the machine is.
PATIENCE = 120.0


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for a condition."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"{what} never became true")
        time.sleep(0.01)


@contextmanager
def ends(what: str = "the block", patience: float = PATIENCE) -> Iterator[None]:
    """Fail if the block, in the main thread, hangs. `patience` is at least ten times what it takes if it does not."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    # The limit of the whole test (pytest-timeout) has the same timer.
    left, interval = signal.setitimer(signal.ITIMER_REAL, patience)
    begun = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - begun)), interval)
