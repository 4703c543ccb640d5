"""Faults for a simulated node: each is a hook that a test passes to `SimulatedMachine(fault=…)`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from threading import Event as Signal

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.operation import Operation
from bai_wizard.node.error_hints import explain_os_error
from bai_wizard.node.simulated import Fault, Moment


class Killed(BaseException):
    """The process ended here immediately, as by kill -9: no handler may catch this."""


def touches(operation: Operation, pattern: str) -> bool:
    """Whether an operation matches a kind (`write-file`), a key (`file:/etc/hosts`) or its prefix (`file:/etc/`)."""
    return operation.kind == pattern or any(str(key).startswith(pattern) for key in operation.keys())


def fail_on(pattern: str, message: str) -> Fault:
    """Fail before anything is changed."""

    def fault(operation: Operation, moment: Moment) -> None:
        if moment == "before" and touches(operation, pattern):
            raise StepFailed(message)

    return fault


def no_space_on(pattern: str) -> Fault:
    """Simulate a full device."""
    return fail_on(pattern, f"no space left on /: old file intact ({errno.errorcode[errno.ENOSPC]})")


def read_only(pattern: str) -> Fault:
    """Simulate a file system that has become read-only."""
    return fail_on(pattern, explain_os_error("file", OSError(errno.EROFS, os.strerror(errno.EROFS))))


def hang_on(pattern: str, until: Signal) -> Fault:
    """Wait before the change until the test sets `until`."""

    def fault(operation: Operation, moment: Moment) -> None:
        if moment == "before" and touches(operation, pattern):
            until.wait()

    return fault


def kill_at(number: int, moment: Moment = "before") -> Fault:
    """Die at the given operation, counted from 0: before its change or right after it."""
    return _at(number, moment, lambda: Killed(f"killed {moment} primitive {number}"))


def _at(number: int, moment: Moment, error: Callable[[], BaseException]) -> Fault:
    seen = [0]

    def fault(operation: Operation, now: Moment) -> None:
        if now != moment:
            return
        seen[0] += 1
        if seen[0] == number + 1:
            raise error()

    return fault
