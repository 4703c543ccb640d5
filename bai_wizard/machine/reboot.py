"""Restarting the node, when somebody at the screen has said so twice."""

from __future__ import annotations

from bai_wizard.core.errors import CannotTell, PreflightError
from bai_wizard.machine.runner import run

# Seconds within which the system takes the order; the reboot itself comes after.
PATIENCE = 30.0


def reboot() -> None:
    """Orders a restart in the system's own way. Raises PreflightError with what it answered."""
    try:
        answer = run(("systemctl", "reboot"), timeout=PATIENCE)
    except CannotTell as error:
        raise PreflightError(str(error)) from error
    if answer.code:
        raise PreflightError(f"systemctl reboot: {answer.err.strip() or f'code {answer.code}'}")
