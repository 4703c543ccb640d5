"""What an interpreter is checked for: that it starts, its version, and the modules that services need."""

from __future__ import annotations

import signal

from bai_wizard.core.machine import Completed
from bai_wizard.core.parse import json_value

# Modules imported by Backend.AI and its packages, with the Debian package that a build without them needs.
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
    """Return the command that checks an interpreter."""
    return [python, "-I", "-B", "-c", SCRIPT.format(names=[*PARTS, "pip"])]


def missing_modules(completed: Completed) -> tuple[tuple[str, str], ...]:
    """Return the modules that an interpreter lacks according to `argv_of`, with Python's reason.

    Empty if it did not run.
    """
    _, missing = _parsed(completed)
    return missing


def problem_of(completed: Completed, version: str, *, built: bool = False) -> str:
    """Describe the problem that `argv_of` found; empty without one. `built`: built from source on this node."""
    if completed.code in (-signal.SIGILL, 128 + signal.SIGILL):
        return "it needs a newer CPU than this one (illegal instruction)"
    result, missing = _parsed(completed)
    if not result:
        lines = completed.err.strip().splitlines()
        return f"it does not run: {lines[-1] if lines else f'exit code {completed.code}'}"
    if version and result != version:
        return f"it is Python {result} instead of {version}"
    if not missing:
        return ""
    names = [name for name, _ in missing]
    reasons = "; ".join(f"{name}: {reason}" for name, reason in missing)
    packages = [PARTS[name] for name in names if name in PARTS]
    remedy = f". Install {' '.join(packages)} and rebuild it" if built and packages else ""
    return f"it lacks {', '.join(names)} ({reasons}){remedy}"


def is_damage(fault: str) -> bool:
    """Whether a problem is caused by missing or altered files, so that restoring the same build fixes it.

    A build for another processor, or one built without an extension (`_lzma`), would be no better after restoring.
    """
    return bool(fault) and not any(
        message in fault for message in ("illegal instruction", "'_", "it is Python", "Exec ")
    )


def _parsed(completed: Completed) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the version and the missing modules; an empty version if it did not run or is not Python."""
    lines = completed.out.strip().splitlines()
    if completed.code != 0 or not lines:
        return "", ()
    try:
        result = json_value(lines[-1])
        return str(result["version"]), tuple((str(name), str(reason)) for name, reason in result["lacking"])
    except (ValueError, TypeError, KeyError):
        return "", ()
