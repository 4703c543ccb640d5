"""`bai-wizard compare N1.json N2.json …`: what must be the same on every node and is not."""

from __future__ import annotations

import argparse
import json

from bai_wizard.exits import ExitCode
from bai_wizard.headless.compare import compare, lines, read_reports


def run(arguments: argparse.Namespace) -> ExitCode:
    """4 where something differs that must not. Raises AnswersError for files that are no reports."""
    found = compare(read_reports(arguments.reports))
    if getattr(arguments, "json", False):
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        print("\n".join(lines(found)))
    return ExitCode.FAILED if found.wrong else ExitCode.OK
