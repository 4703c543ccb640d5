"""Time limits, and calls that may hang in the kernel or in a library: with a deadline, and several at once.

Limits are measured with CLOCK_MONOTONIC (`time.monotonic`). The wall clock can be set at any time. CLOCK_BOOTTIME
continues while the machine is suspended, so after a resume every child would be late although none could run. The
monotonic clock may jump as well: a hypervisor that paused the machine may let it catch up, and it continues while
this process is stopped (SIGSTOP, a frozen cgroup). `Limit` therefore counts only time in which this process ran, and
code that waits with it checks for an answer before it checks the limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from selectors import BaseSelector, SelectorKey
from typing import Generic, TypeVar

from bai_wizard.core.errors import StateUnknown

S = TypeVar("S")
T = TypeVar("T")
# Maximum duration of one wait in seconds: a wait that takes much longer was a suspension.
SLICE = 0.25


class Limit:
    """A number of seconds in which this process runs; a time in which it was stopped counts as at most 2 slices."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._seen = time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is up. Call this after every wait."""
        now = time.monotonic()
        self._left -= min(now - self._seen, 2 * SLICE)
        self._seen = now
        return self._left <= 0

    def wait(self) -> float:
        """Return how long to wait before checking again, in seconds."""
        return min(max(self._left, 0.0), SLICE)


def ready(selector: BaseSelector, seconds: float) -> list[tuple[SelectorKey, int]]:
    """Return what becomes readable within `seconds`.

    If a stop of this process interrupts a wait until its time is up, select returns nothing, so poll once more.
    """
    return selector.select(max(0.0, seconds)) or selector.select(0)


class _Call(threading.Thread, Generic[T]):
    """A started call that does not keep the process from exiting."""

    def __init__(self, call: Callable[[], T], what: str) -> None:
        super().__init__(daemon=True, name=f"within {what}")
        self._call = call
        self._answer: T
        self._error: BaseException | None = None
        self.has_ended = False
        self.start()

    def run(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        self.has_ended = True

    def result(self) -> T:
        """Return the answer of a call that has ended, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._answer


def with_deadline(seconds: float, what: str, call: Callable[[], T]) -> T:
    """Return the result of `call`, run in a thread that is abandoned if it does not answer in time.

    Raises StateUnknown after `seconds`, and any exception of `call`.
    """
    limit = Limit(seconds)
    started = _Call(call, what)
    while started.is_alive() and not limit.is_over():
        started.join(limit.wait())
    if not started.has_ended:
        raise StateUnknown(f"{what}: no response within {seconds:g} s")
    return started.result()


def map_concurrently(call: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Return the results of `call` for all items, in order, running all calls concurrently.

    `call` must have its own deadlines. Raises the error of the first item that failed.
    """
    if len(items) < 2:
        return [call(item) for item in items]
    started = [_Call(partial(call, item), str(index)) for index, item in enumerate(items)]
    for each in started:
        each.join()
    return [each.result() for each in started]
