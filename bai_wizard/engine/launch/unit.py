"""Starting the executor so that it outlives the terminal, the connection and whoever started it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.places import Places

# Longer than any package step; systemd must not kill dpkg at a shutdown. Seconds.
STOP_TIMEOUT = 3600


def unit_name(run: RunDirectory) -> str:
    """The transient unit of a run."""
    return f"bai-wizard-{run.id}.service"


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
        _start_unit(unit_name(run), argv, run)
    else:
        _spawn(argv, run.log)


def _start_unit(unit: str, argv: list[str], run: RunDirectory) -> None:
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
    pid = _spawn([*command, "--", *argv], run.log)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise PreflightError(f"systemd does not start {unit}: {run.log.read_text(errors='replace').strip()}")


def _spawn(argv: list[str], log: Path) -> int:
    """A child in its own session, its output in `log`; returns its pid."""
    from shutil import which

    program = which(argv[0])
    if program is None:
        raise PreflightError(f"{argv[0]} is not installed")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    return os.posix_spawn(
        program,
        argv,
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
