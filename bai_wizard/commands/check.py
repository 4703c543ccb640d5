"""`bai-wizard check FILE`: validate answers, change nothing."""

from __future__ import annotations

import argparse
import os

from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises AnswersError with every problem; PreflightError for a bundle that lacks what they need."""
    from bai_wizard.answers.report import check

    host = arguments.host or os.uname().nodename
    print(check(arguments.file, host))
    if arguments.file != "-":
        _check_bundle(arguments.file, host)
    return ExitCode.OK


def _check_bundle(file: str, host: str) -> None:
    from bai_wizard.answers.load import load

    answers = load(file, host)
    if "sources" in answers.tables:
        from bai_wizard.bundle.redirect import from_bundle
        from bai_wizard.compose import wish_of

        from_bundle(wish_of(answers))
