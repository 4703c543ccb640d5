"""`bai-wizard _execute RUN`: the executor, started independently of any terminal."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from bai_wizard import compose
from bai_wizard.core import debug_log
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.engine.audit import discard
from bai_wizard.engine.directory import RunDirectory, find_run
from bai_wizard.engine.events import EventLog
from bai_wizard.engine.executor import execute
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.cache import BUNDLES
from bai_wizard.node.passwords import claim_secrets
from bai_wizard.node.system_log import write_record
from bai_wizard.steps import load_all


def run(arguments: argparse.Namespace) -> ExitCode:
    """One attempt of one run; a refusal is reported in the run's own events, because no terminal is attached."""
    claim_secrets()
    os.umask(0o077)
    stop = StopRequest()
    stop.listen()
    paths = compose.paths(arguments.root)
    run = find_run(paths, arguments.run)
    if arguments.debug:
        debug_log.start(str(run.debug_log), shown=False)
    try:
        machine = compose.local_machine(arguments.root)
        load_all()
        machine.load_all()
        sources = partial(_sources, run, paths, machine)
        record = write_audit_record if arguments.root == "/" else discard
        result = execute(paths, run, arguments.digest, machine, should_stop=stop, sources=sources, record=record)
        return result.code()
    except _Told:
        raise
    except PreflightError as error:
        _tell_end(run, str(error), ExitCode.PREFLIGHT)
        raise
    except Exception as error:
        _tell_end(run, f"internal error: {type(error).__name__}; see {run.log}", ExitCode.BUG)
        raise


def write_audit_record(message: str, fields: Mapping[str, str], priority: int) -> None:
    """Write to the system log. A node without one is not refused: the executor's log says why."""
    if problem := write_record(message, fields, priority=priority):
        print(f"bai-wizard: {problem}", file=sys.stderr)


class StopRequest:
    """SIGTERM stops the run after the current step. SIGHUP is ignored: the terminal may be gone."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Install the handlers; call it in the executor's main thread."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def __call__(self) -> bool:
        return self.asked

    def _ask(self, _number: int, _frame: Any) -> None:
        self.asked = True


class _Told(PreflightError):
    """A refusal that the events of the run already report."""


@contextmanager
def _sources(run: RunDirectory, paths: StatePaths, machine: Machine) -> Iterator[None]:
    """Provide copies of what the run uses from a bundle; an undo uses nothing. Removes those of a killed run."""
    with ExitStack() as kept:
        try:
            settings = {} if run.kind == "undo" else run.settings()
            is_named = bool(settings.get("tables", {}).get("sources", {}).get("bundle"))
            if is_named or (paths.root / BUNDLES.lstrip("/")).exists():
                from bai_wizard.offline.use_bundle import provided

                copies = kept.enter_context(provided(settings, paths.root))
                machine.packages_from, machine.wheels_from = copies.packages, copies.wheels
        except PreflightError as error:
            # While the lock is held: without it, a run without a final event would look interrupted.
            _tell_end(run, str(error), ExitCode.PREFLIGHT)
            raise _Told(str(error)) from error
        yield


def _tell_end(run: RunDirectory, text: str, code: ExitCode) -> None:
    """Write the last event of a run that ended before it could write it itself."""
    event_log = EventLog(run.events, run.id)
    event_log.emit("summary", text, level="error", data={"version": 1, "code": int(code)})
    event_log.close()
