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
from bai_wizard.machine.lent import take_back


def run(arguments: argparse.Namespace) -> ExitCode:
    """One attempt of one run; a refusal is told in the run's own events, for nobody else is listening."""
    from bai_wizard.steps import load_all

    os.umask(0o077)
    stop = StopRequest()
    stop.listen()
    places = compose.places(arguments.root)
    run = find_run(places, arguments.run)
    try:
        machine = compose.local_machine(arguments.root)
        load_all()
        machine.load_all()
        if run.kind != "undo":
            from bai_wizard.bundle.verify import verify

            machine.packages_from = compose.packages_of(verify(run.settings()))
        return execute(places, run, arguments.digest, machine, should_stop=stop).code()
    except PreflightError as error:
        _tell_end(run, str(error), ExitCode.PREFLIGHT)
        raise
    except Exception as error:
        _tell_end(run, f"a bug in the wizard: {type(error).__name__}; {run.log} tells more", ExitCode.BUG)
        raise
    finally:
        take_back(places.root)


def _tell_end(run: RunDirectory, text: str, code: ExitCode) -> None:
    """The last event of a run that ended before it could tell by itself."""
    narrator = Narrator(run.events, run.id)
    narrator.tell("summary", text, level="error", data={"version": 1, "code": int(code)})
    narrator.close()
