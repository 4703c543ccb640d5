"""Looks whether an interpreter really works: it runs, is the right one, and has the parts that services need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.examination import argv_of, fault_of
from bai_wizard.core.machine import Completed

if TYPE_CHECKING:
    from bai_wizard.machine.perform.acting import Acting

START = 60.0


def examine(acting: Acting, python: str, version: str, *, built: bool = False) -> None:
    """Raises StepFailed with what is wrong with the interpreter at `python`."""
    fault = attempt(lambda: acting.attempt(argv_of(python), timeout=START, on_line=_unheard), version, built=built)
    if fault:
        raise StepFailed(f"Python {version} was unpacked, but {fault}" if not built else f"Python {version}: {fault}")


def attempt(run: Callable[[], Completed], version: str, *, built: bool = False) -> str:
    """What is wrong, with the causes that the kernel gives when a program cannot even be started."""
    try:
        completed = run()
    except CannotTell as error:
        words = str(error)
        if "Exec format error" in words:
            return "it is built for another processor (Exec format error)"
        if "is not installed" in words:
            return "its loader is missing: the build is for another C library (musl), or bin/python3 is gone"
        return words
    return fault_of(completed, version, built=built)


def _unheard(_text: str, _stream: str) -> None:
    """The answer is for us, not for the log."""
