"""Commands of the system that are none of the other primitives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import RunCommand
from bai_wizard.machine.perform.call import last_words, log_lines
from bai_wizard.machine.runner import run

if TYPE_CHECKING:
    from bai_wizard.machine.identity import Identity
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers


def run_command(machine: LocalMachine, primitive: RunCommand, log: Log) -> None:
    """Runs the command, as the account where one is named. Raises StepFailed with its last words."""
    identity = _identity(machine, primitive.account)
    environment = dict(primitive.environment)
    if identity is not None:
        environment = {"HOME": identity.home, "USER": identity.name, "LOGNAME": identity.name, **environment}
    completed = run(
        primitive.argv,
        timeout=primitive.timeout,
        cancel=primitive.cancel,
        on_line=log_lines(log),
        env=environment,
        account=identity[:3] if identity is not None else None,
        directory=primitive.directory,
    )
    if completed.code != 0:
        raise StepFailed(f"{primitive.title}: {last_words(completed)}")


def _identity(machine: LocalMachine, account: str) -> Identity | None:
    if account in ("", "root"):
        return None
    identity = machine.identity(account)
    if identity is None:
        raise StepFailed(f"there is no account {account} on this node")
    return identity


PERFORMERS: Performers = {RunCommand.kind: run_command}
