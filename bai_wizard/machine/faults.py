"""Faults for a simulated node: each is a hook that a test hands to `SimulatedMachine(fault=…)`."""

from __future__ import annotations

import errno
from collections.abc import Callable
from threading import Event as Signal

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.primitives import Primitive
from bai_wizard.machine.failures import SENTENCES
from bai_wizard.machine.simulated import Fault, Moment


class Killed(BaseException):
    """The process ended here, at once, as by kill -9: no handler may make something of it."""


def touches(primitive: Primitive, pattern: str) -> bool:
    """True for a kind (`write-file`), a key (`file:/etc/hosts`) or the beginning of one (`file:/etc/`)."""
    return primitive.kind == pattern or any(str(key).startswith(pattern) for key in primitive.keys())


def fail_on(pattern: str, message: str) -> Fault:
    """Fails before anything is changed."""

    def fault(primitive: Primitive, moment: Moment) -> None:
        if moment == "before" and touches(primitive, pattern):
            raise StepFailed(message)

    return fault


def no_space_on(pattern: str) -> Fault:
    """No space left on the device."""
    return fail_on(pattern, f"no space left on /: old file intact ({errno.errorcode[errno.ENOSPC]})")


def read_only(pattern: str) -> Fault:
    """The file system turned read-only."""
    return fail_on(pattern, SENTENCES[errno.EROFS])


def hang_on(pattern: str, until: Signal) -> Fault:
    """Waits before the change until the test sets `until`."""

    def fault(primitive: Primitive, moment: Moment) -> None:
        if moment == "before" and touches(primitive, pattern):
            until.wait()

    return fault


def kill_at(number: int, moment: Moment = "before") -> Fault:
    """Dies at the given primitive, counted from 0: before its change or right after it."""
    return _at(number, moment, lambda: Killed(f"killed {moment} primitive {number}"))


def _at(number: int, moment: Moment, error: Callable[[], BaseException]) -> Fault:
    seen = [0]

    def fault(primitive: Primitive, now: Moment) -> None:
        if now != moment:
            return
        seen[0] += 1
        if seen[0] == number + 1:
            raise error()

    return fault
