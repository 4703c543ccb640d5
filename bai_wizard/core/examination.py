"""What an interpreter has to show when it is started: that it runs, its version, the parts that services need."""

from __future__ import annotations

import json
import signal

from bai_wizard.core.machine import Completed

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


def argv_of(python: str) -> list[str]:
    """The command that examines an interpreter."""
    return [python, "-I", "-B", "-c", SCRIPT.format(names=[*PARTS, "pip"])]


def lacking(completed: Completed) -> tuple[tuple[str, str], ...]:
    """The parts that an interpreter lacks after `argv_of` ran, with Python's reason; none where it did not run."""
    _, missing = _told(completed)
    return missing


def fault_of(completed: Completed, version: str, *, built: bool = False) -> str:
    """What is wrong with an interpreter after `argv_of` ran; empty when nothing is. `built`: from source, here."""
    if completed.code in (-signal.SIGILL, 128 + signal.SIGILL):
        return "it needs a newer processor than this one (illegal instruction)"
    found, missing = _told(completed)
    if not found:
        said = completed.err.strip().splitlines()
        return f"it does not run: {said[-1] if said else f'exit code {completed.code}'}"
    if version and found != version:
        return f"it is Python {found} and not {version}"
    if not missing:
        return ""
    names = [name for name, _ in missing]
    reasons = "; ".join(f"{name}: {reason}" for name, reason in missing)
    packages = [PARTS[name] for name in names if name in PARTS]
    remedy = f". Install {' '.join(packages)} and build it again" if built and packages else ""
    return f"it lacks {', '.join(names)} ({reasons}){remedy}"


def _told(completed: Completed) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The version, and what is lacking; no version where it did not run, or is no Python at all."""
    lines = completed.out.strip().splitlines()
    if completed.code != 0 or not lines:
        return "", ()
    try:
        told = json.loads(lines[-1])
        return str(told["version"]), tuple((str(name), str(reason)) for name, reason in told["lacking"])
    except (ValueError, TypeError, KeyError):
        return "", ()
