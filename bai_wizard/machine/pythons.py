"""Looks whether an interpreter really works: it runs, is the right one, and has the parts that services need."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.machine import Completed

if TYPE_CHECKING:
    from bai_wizard.machine.perform.acting import Acting

# The parts that Backend.AI and its packages import; what provides them, for a build that lacks one.
PARTS: dict[str, str] = {
    "ssl": "libssl-dev",
    "sqlite3": "libsqlite3-dev",
    "lzma": "liblzma-dev",
    "bz2": "libbz2-dev",
    "zlib": "zlib1g-dev",
    "ctypes": "libffi-dev",
    "readline": "libreadline-dev",
}
SCRIPT = """
import importlib, json, platform
lacking = []
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        lacking.append([name, str(error)])
print(json.dumps({{"version": platform.python_version(), "lacking": lacking}}))
"""
START = 60.0


def argv_of(python: str) -> list[str]:
    """The command that examines an interpreter."""
    return [python, "-I", "-B", "-c", SCRIPT.format(names=[*PARTS, "pip"])]


def fault_of(completed: Completed, version: str, *, built: bool = False) -> str:
    """What is wrong with an interpreter after `argv_of` ran; empty when nothing is. `built`: from source, here."""
    if completed.code == -signal.SIGILL:
        return "it needs a newer processor than this one (illegal instruction)"
    if completed.code != 0:
        said = completed.err.strip().splitlines()
        return f"it does not run: {said[-1] if said else f'exit code {completed.code}'}"
    told = json.loads(completed.out.strip().splitlines()[-1])
    if version and told["version"] != version:
        return f"it is Python {told['version']} and not {version}"
    if not told["lacking"]:
        return ""
    names = [name for name, _ in told["lacking"]]
    reasons = "; ".join(f"{name}: {reason}" for name, reason in told["lacking"])
    packages = [PARTS[name] for name in names if name in PARTS]
    remedy = f". Install {' '.join(packages)} and build it again" if built and packages else ""
    return f"it lacks {', '.join(names)} ({reasons}){remedy}"


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
