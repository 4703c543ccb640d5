"""`bai-wizard attach [RUN]`: watch a run from its beginning."""

from __future__ import annotations

import argparse

from bai_wizard import compose
from bai_wizard.engine.run.directory import find_run
from bai_wizard.exits import ExitCode
from bai_wizard.headless.output import output_for
from bai_wizard.headless.watch import watch


def run(arguments: argparse.Namespace) -> ExitCode:
    """Ends with the run's own code; Ctrl-C only looks away."""
    places = compose.places(arguments.root)
    run = find_run(places, arguments.run)
    code, _ = watch(places, run, output_for(getattr(arguments, "json", False)), stop=False)
    return code
