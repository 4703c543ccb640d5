"""`bai-wizard check FILE`: validate answers, change nothing."""

from __future__ import annotations

import argparse
import os

from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises AnswersError with every problem; PreflightError for a bundle that lacks what they need."""
    from bai_wizard.answers.load import load
    from bai_wizard.answers.report import report

    answers = load(arguments.file, arguments.host or os.uname().nodename)
    print(report(answers))
    directory, digest = getattr(arguments, "bundle", ""), getattr(arguments, "bundle_digest", "")
    if directory or "sources" in answers.tables:
        from bai_wizard.bundle.redirect import from_bundle
        from bai_wizard.compose import wish_of

        from_bundle(wish_of(answers), directory, digest)
    return ExitCode.OK
