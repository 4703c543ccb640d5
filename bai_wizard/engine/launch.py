"""Start a run: prepare it, start its executor independently of the terminal, re-exec under sudo."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

from bai_wizard.core import debug_log
from bai_wizard.core.errors import LockHeld, PlanOutdated, PreflightError
from bai_wizard.core.programs import HARDENING, find_program, program_path
from bai_wizard.engine.directory import RunDirectory, counter, directories
from bai_wizard.engine.events import PATIENCE, EventReader, last_output, size_of_events
from bai_wizard.engine.lock import StatePaths, current, hold_lock, hold_start, is_running, refuse_held
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.deadline import Limit
from bai_wizard.own_code import PACKAGE, foreign_code, foreign_code_of_root
from bai_wizard.trusted_path import sudo_uid


def sudo_argv(arguments: Sequence[str], *, ask: bool) -> list[str]:
    """The command that re-executes this wizard under sudo; without `ask`, sudo must not prompt."""
    prefix = ["sudo", "--"] if ask else ["sudo", "-n", "--"]
    return [*prefix, sys.executable, "-I", "-m", "bai_wizard", *arguments]


def elevate(arguments: Sequence[str], *, ask: bool) -> None:
    """Replace this process with the same command as root. Raises PreflightError if that is not possible."""
    sudo = _sudo()
    argv = sudo_argv(arguments, ask=ask)
    debug_log.debug("replaced by %s", argv)
    debug_log.show_files()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sudo, argv)


def run_elevated(arguments: Sequence[str]) -> int:
    """Run the same command as root on this terminal and return its exit code; sudo may ask for a password.

    Raises PreflightError if that is not possible.
    """
    sudo = _sudo()
    sys.stdout.flush()
    sys.stderr.flush()
    # Ctrl-C at the password prompt is meant for sudo; this process waits for it to exit.
    keys = (signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(number, signal.SIG_IGN) for number in keys]
    try:
        child = os.posix_spawn(sudo, sudo_argv(arguments, ask=True), os.environ, setsigdef=keys)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for number, handler in zip(keys, before, strict=True):
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _sudo() -> str:
    refuse_foreign_code(Path(PACKAGE), Path(sys.executable))
    sudo = find_program("sudo")
    if sudo is None:
        raise PreflightError("this needs root, and sudo is not installed; log in as root")
    return sudo


def refuse_foreign_code(package: Path, interpreter: Path, *, invoker: int | None = None) -> None:
    """Raise PreflightError if users other than root and the invoking one could modify the code root would run."""
    refusal = foreign_code(str(package), str(interpreter), {os.getuid() if invoker is None else invoker})
    if refusal:
        raise PreflightError(refusal)


# Longer than any package step takes: systemd must not kill dpkg during a shutdown. Seconds.
STOP_TIMEOUT = 3600
# How long to wait for the unit of a killed attempt to disappear (until systemd has killed its children), in seconds.
UNIT_TIMEOUT = 10.0
# After that, number the units: a child stuck in an uninterruptible system call can keep its unit alive for hours.
MAX_UNITS = 9
# systemd's message for a unit name that is already in use.
TAKEN = "was already loaded"


def unit_name(run: RunDirectory, number: int = 1) -> str:
    """The transient unit of a run; numbered if the unit of the previous attempt still exists."""
    return f"bai-wizard-{run.id}{'' if number == 1 else f'-{number}'}.service"


def executor_argv(run: RunDirectory, digest: str, paths: StatePaths) -> list[str]:
    """The executor's command line: isolated mode, absolute interpreter path, no secrets."""
    prefix = [] if str(paths.root) == "/" else ["--root", str(paths.root)]
    if debug_log.is_on():
        prefix.append("--debug")
    return [sys.executable, "-I", "-m", "bai_wizard", "_execute", run.id, "--digest", digest, *prefix]


def start_executor(run: RunDirectory, digest: str, paths: StatePaths) -> None:
    """Start the executor as its own unit, or in its own session if systemd is not PID 1.

    When this returns, the executor is running and has the runtime secrets open as its standard input.
    The executor imports the code again, possibly long after the review, so the tree is checked once more.
    Raises PreflightError if that check fails or systemd refuses the unit.
    """
    if os.geteuid() == 0 and (refusal := foreign_code_of_root()):
        raise PreflightError(refusal)
    argv = executor_argv(run, digest, paths)
    if debug_log.is_on():
        debug_log.mention(str(run.debug_log))
    if Path("/run/systemd/system").is_dir() and str(paths.root) == "/":
        _start_unit(argv, run, _stdin(paths))
    else:
        log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _spawn(argv, log, _stdin(paths))
        finally:
            os.close(log)


def _stdin(paths: StatePaths) -> str:
    return str(paths.runtime_secrets) if paths.runtime_secrets.exists() else os.devnull


def _start_unit(argv: list[str], run: RunDirectory, stdin: str = os.devnull) -> None:
    patience, number = Limit(UNIT_TIMEOUT), 1
    while refused := _systemd_run(unit_name(run, number), argv, run, stdin):
        if TAKEN not in refused or number == MAX_UNITS:
            raise PreflightError(f"systemd does not start {unit_name(run, number)}: {refused}")
        if patience.is_over():
            number += 1
        else:
            time.sleep(0.2)


def _systemd_run(unit: str, argv: list[str], run: RunDirectory, stdin: str) -> str:
    """Start the unit and wait until its program runs; returns systemd's error message, empty on success."""
    properties = {
        "Type": "exec",
        "KillMode": "mixed",
        "TimeoutStopSec": str(STOP_TIMEOUT),
        "Description": f"bai-wizard run {run.id}",
        "WorkingDirectory": "/",
        "StandardInput": f"file:{stdin}",
        "StandardOutput": f"append:{run.log}",
        "StandardError": f"append:{run.log}",
        **HARDENING,
    }
    command = ["systemd-run", "--quiet", "--collect", "--no-ask-password", f"--unit={unit}"]
    command += [f"--setenv={name}={value}" for name, value in _invoker().items()]
    command += [f"--property={name}={value}" for name, value in properties.items()]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as output:
        try:
            pid = _spawn([*command, "--", *argv], writer)
        finally:
            os.close(writer)
        text = output.read().strip()
    _, status = os.waitpid(pid, 0)
    return "" if os.waitstatus_to_exitcode(status) == 0 else text or f"systemd-run ended with {status}"


def _invoker() -> dict[str, str]:
    """The user who called sudo: the executor also accepts a code tree that belongs to that user."""
    uid = sudo_uid()
    return {} if uid is None else {"SUDO_UID": str(uid)}


def _spawn(argv: list[str], output: int, stdin: str = os.devnull) -> int:
    """Start a child in its own session, with input from a file and output to a descriptor; returns its PID."""
    program = find_program(argv[0])
    if program is None:
        raise PreflightError(f"{argv[0]} is not installed")
    debug_log.debug("command %s: started", argv)
    environment = {"PATH": program_path(), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", **_invoker()}
    return os.posix_spawn(
        program,
        argv,
        environment,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
    )


# How often to check whether the executor has taken over the run, in seconds.
INTERVAL = 0.02
# How long an executor with a live process may take to begin on a busy node, and how often to check after `PATIENCE`,
# in seconds.
MOST = 600.0
LOOK = 0.5


def begin_run(
    paths: StatePaths,
    make: Callable[[], RunDirectory],
    launch: Callable[[RunDirectory], None],
    planned_at: tuple[int, int] | None = None,
) -> RunDirectory:
    """Prepare a run or another attempt with `make`, and start its executor with `launch`.

    `planned_at` is the `counter` from before the front end read the node: if another run has begun since then, the
    plan or the choice of the run may be outdated.
    Returns once the executor has taken over the run under the lock, or has reported a bug. Raises LockHeld,
    PlanOutdated, PreflightError, and whatever `make` and `launch` raise; in that case a new run's directory is
    removed.
    """
    with hold_start(paths):
        refuse_held(paths)
        if planned_at not in (None, counter(paths)):
            raise PlanOutdated
        _remove_prepared(paths)
        run = make()
        is_new, seen = run.is_prepared(), size_of_events(run)
        try:
            launch(run)
            _await_executor(paths, run, seen, is_new=is_new)
        except KeyboardInterrupt:
            if not is_new or _withdrawn(paths, run):
                raise
            # The run continues, and the front end shows it: it can be stopped from there.
        except BaseException:
            if is_new:
                _withdrawn(paths, run)
            raise
    return RunDirectory(run.path)


def _await_executor(paths: StatePaths, run: RunDirectory, seen: int, *, is_new: bool) -> None:
    """Raise PreflightError if the executor refuses the run, or does not begin a new one in time."""
    reader = EventReader(run, seen)
    patience, limit = Limit(PATIENCE), Limit(MOST)
    while True:
        is_late = patience.is_over()
        if limit.is_over() or (is_late and not _has_process(run)):
            break
        for event in reader.more():
            code = (event.data or {}).get("code")
            if event.kind == "summary" and "steps" not in (event.data or {}) and code == ExitCode.PREFLIGHT:
                raise PreflightError(event.text)
            return
        if is_new and RunDirectory(run.path).number:
            return
        if not is_new and is_running(paths, run.id):
            return
        time.sleep(LOOK if is_late else INTERVAL)
    if is_new and (current(paths) or {}).get("run") != run.id:
        output = last_output(run)
        message = f"; its output:\n{output}" if output else ""
        raise PreflightError(f"the executor of run {run.id} did not begin in time{message}")


def _has_process(run: RunDirectory) -> bool:
    """Whether a process of the executor exists, which may still begin."""
    words = f"\0_execute\0{run.id}\0".encode()
    return any(words in _arguments(process) for process in Path("/proc").glob("[0-9]*"))


def _arguments(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # the process has ended


def _withdrawn(paths: StatePaths, run: RunDirectory) -> bool:
    """Remove a directory that no executor has begun; an executor that arrives later refuses to run."""
    with ExitStack() as kept:
        try:
            kept.enter_context(hold_lock(paths, ""))
        except LockHeld as error:
            if error.run == run.id:
                return False
        except PreflightError:
            pass  # Without a lock, no executor can begin.
        if not RunDirectory(run.path).is_prepared():
            return False
        rmtree(run.path)
        return True


def _remove_prepared(paths: StatePaths) -> None:
    """Remove directories left by starters that were killed before an executor began their run."""
    left = [run for run in directories(paths) if run.is_prepared()]
    for run in left:
        _withdrawn(paths, run)
