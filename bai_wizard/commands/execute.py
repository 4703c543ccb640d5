"""`bai-wizard _execute RUN`: the executor, started apart from every terminal."""

from __future__ import annotations

import argparse
import os

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.run.directory import RunDirectory, find_run
from bai_wizard.engine.run.execute import StopRequest, execute
from bai_wizard.engine.run.narrator import Narrator
from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """One attempt of one run; a refusal is told in the run's own events, for nobody else is listening."""
    from bai_wizard.steps import load_all

    os.umask(0o077)
    stop = StopRequest()
    stop.listen()
    places = compose.places(arguments.root)
    run = find_run(places, arguments.run)
    machine = compose.local_machine(arguments.root)
    load_all()
    machine.load_all()
    try:
        return execute(places, run, arguments.digest, machine, should_stop=stop).code()
    except PreflightError as error:
        _tell_refusal(run, error)
        raise


def _tell_refusal(run: RunDirectory, error: PreflightError) -> None:
    narrator = Narrator(run.events, run.id)
    narrator.tell("summary", str(error), level="error", data={"version": 1, "code": int(ExitCode.PREFLIGHT)})
    narrator.close()
