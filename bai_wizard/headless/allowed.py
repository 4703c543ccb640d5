"""What a command that changes the node has to be allowed: to be root, and to interrupt."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine


def words(text: str) -> tuple[str, ...]:
    """The parts of a list that is given with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def refuse_interrupts(hit: Mapping[str, tuple[str, ...]]) -> None:
    """Raises PreflightError naming what would be hit and the words that allow it."""
    if hit:
        told = [f"  {what} would hit {', '.join(names[:8])}" for what, names in hit.items()]
        allow = f"allow it with --yes-interrupt={','.join(hit)}"
        raise PreflightError("nothing was touched, because:\n" + "\n".join(told) + f"\n  {allow}")


def require_root(machine: Machine, arguments: argparse.Namespace) -> None:
    """Starts this command again under sudo when it is not root; without a way to be root: PreflightError."""
    if machine.is_root:
        return
    if machine.look(["sudo", "-n", "true"]).code != 0:
        raise PreflightError("this needs root, and sudo would ask for a password; run it as root or with sudo")
    from bai_wizard.engine.launch.elevate import elevate

    elevate(arguments.words, ask=False)
