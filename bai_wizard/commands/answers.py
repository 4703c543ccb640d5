"""`bai-wizard answers`: a commented answers file, with the defaults or with what this node has."""

from __future__ import annotations

import argparse
import sys

from bai_wizard import compose
from bai_wizard.exits import ExitCode


def run(arguments: argparse.Namespace) -> ExitCode:
    """Prints TOML; every field with its help."""
    from bai_wizard.answers.save import answers_from, answers_text

    text = answers_from(compose.local_machine(arguments.root)) if arguments.from_node else answers_text()
    sys.stdout.write(text)
    return ExitCode.OK
