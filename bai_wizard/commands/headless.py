"""`bai-wizard --headless FILE`: makes it so, or says at once that it still is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bai_wizard.exits import ExitCode

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> ExitCode:
    """Raises the errors that `cli.py` maps to exit codes."""
    from bai_wizard.headless.apply import apply

    return apply(arguments)


def still_so(words: Sequence[str]) -> ExitCode | None:
    """Answers a command line that has a proof on this node which still stands; None for every other."""
    from bai_wizard.engine.proof.proof import kept

    proof = kept(words)
    if proof is None:
        return None
    from bai_wizard.machine.local import LocalMachine

    if not proof.stands(LocalMachine()):
        return None
    sys.stdout.write(proof.said)
    return ExitCode(proof.code)
