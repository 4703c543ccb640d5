"""`bai-wizard schema`: the JSON Schema of the answers."""

from __future__ import annotations

import argparse
import sys

from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Prints the committed schema, which a test compares with the models."""
    from bai_wizard.answers.schema import schema_text

    sys.stdout.write(schema_text())
    return ExitCode.OK
