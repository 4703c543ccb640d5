"""Exit codes: part of the public contract (DESIGN, "Exit codes"; README)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """The meaning of a command's exit status."""

    OK = 0
    BUG = 1
    ANSWERS = 2
    PREFLIGHT = 3
    FAILED = 4
    REBOOT = 5
    OPTIONAL_FAILED = 6
    CHANGES = 7
    INTERRUPTED = 130


PRECEDENCE = (
    ExitCode.BUG,
    ExitCode.INTERRUPTED,
    ExitCode.FAILED,
    ExitCode.REBOOT,
    ExitCode.OPTIONAL_FAILED,
    ExitCode.OK,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that takes precedence if several apply to one run."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.OK)
