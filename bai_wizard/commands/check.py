"""`bai-wizard check FILE`: validate answers, change nothing."""

from __future__ import annotations

import argparse
import os

from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises AnswersError with every problem."""
    from bai_wizard.answers.report import check

    print(check(arguments.file, arguments.host or os.uname().nodename))
    return ExitCode.OK
