"""Starting the executor so that it outlives the terminal, the connection and whoever started it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.places import Places

# Longer than any package step; systemd must not kill dpkg at a shutdown. Seconds.
STOP_TIMEOUT = 3600


# How long the unit of a killed attempt may take to go, in seconds: until systemd has ended all its children.
PATIENCE = 10.0
# After that, by number: a child that hangs in the kernel cannot be ended and holds its unit for hours.
MOST_UNITS = 9
# What systemd says of a name that is taken.
TAKEN = "was already loaded"


def unit_name(run: RunDirectory, number: int = 1) -> str:
    """The transient unit of a run; numbered where the one before still stands."""
    return f"bai-wizard-{run.id}{'' if number == 1 else f'-{number}'}.service"


def executor_argv(run: RunDirectory, digest: str, places: Places) -> list[str]:
    """How the executor is called: isolated, by absolute interpreter, with nothing secret in it."""
    prefix = [] if str(places.root) == "/" else ["--root", str(places.root)]
    return [sys.executable, "-I", "-m", "bai_wizard", "_execute", run.id, "--digest", digest, *prefix]


def start_executor(run: RunDirectory, digest: str, places: Places) -> None:
    """Starts the executor as its own unit, or in a session of its own where systemd is not PID 1.

    Raises PreflightError when systemd refuses the unit.
    """
    argv = executor_argv(run, digest, places)
    if Path("/run/systemd/system").is_dir() and str(places.root) == "/":
        _start_unit(argv, run)
    else:
        log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _spawn(argv, log)
        finally:
            os.close(log)


def _start_unit(argv: list[str], run: RunDirectory) -> None:
    patience, number = time.monotonic() + PATIENCE, 1
    while refused := _systemd_run(unit_name(run, number), argv, run):
        if TAKEN not in refused or number == MOST_UNITS:
            raise PreflightError(f"systemd does not start {unit_name(run, number)}: {refused}")
        if time.monotonic() < patience:
            time.sleep(0.2)
        else:
            number += 1


def _systemd_run(unit: str, argv: list[str], run: RunDirectory) -> str:
    """Starts the unit and waits until its program runs; what systemd says where it does not, else nothing."""
    properties = {
        "Type": "exec",
        "KillMode": "mixed",
        "TimeoutStopSec": str(STOP_TIMEOUT),
        "Description": f"bai-wizard run {run.id}",
        "WorkingDirectory": "/",
        "StandardOutput": f"append:{run.log}",
        "StandardError": f"append:{run.log}",
    }
    command = ["systemd-run", "--quiet", "--collect", "--no-ask-password", f"--unit={unit}"]
    command += [f"--property={name}={value}" for name, value in properties.items()]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as said:
        try:
            pid = _spawn([*command, "--", *argv], writer)
        finally:
            os.close(writer)
        text = said.read().strip()
    _, status = os.waitpid(pid, 0)
    return "" if os.waitstatus_to_exitcode(status) == 0 else text or f"systemd-run ended with {status}"


def _spawn(argv: list[str], output: int) -> int:
    """A child in its own session, its output in an open file; returns its pid."""
    from shutil import which

    program = which(argv[0])
    if program is None:
        raise PreflightError(f"{argv[0]} is not installed")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    return os.posix_spawn(
        program,
        argv,
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
    )
