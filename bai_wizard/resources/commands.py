"""System commands that none of the other operations covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Cancel, Change, Operation, Outcome
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable, command_key, file_key
from bai_wizard.resources import performs

if TYPE_CHECKING:
    from bai_wizard.core.operation import Simulation
    from bai_wizard.node.run_as import Identity
    from bai_wizard.resources.local import LocalMachine


class RunCommand(Operation, frozen=True):
    """Run `argv` (never through a shell), as `account` if given, for at most `timeout` seconds.

    `touches` names files that the command changes in an unpredictable way: they are read before and after, so that
    the journal records the difference. `undo` is the command that undoes it; without one, `stays` describes what
    remains. With `undo_last`, that command runs after everything else has been restored, because it rebuilds
    something from the files.
    """

    kind: ClassVar[str] = "run-command"
    is_disruptive: ClassVar[bool] = True
    argv: tuple[str, ...]
    title: str
    account: str = ""
    directory: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    timeout: float = 300.0
    cancel: Cancel = "kill"
    touches: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    stays: str = ""
    undo_last: bool = False  # type: ignore[misc]  # a constant in all other operations

    def keys(self) -> tuple[Key, ...]:
        return (command_key(self.argv, self.account), *(file_key(path) for path in self.touches))

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys(), UNPREDICTABLE)

    def inverse(self, before: States) -> Operation | None:
        if not self.undo:
            return None
        return RunCommand(self.undo, f"undo: {self.title}", self.account, self.directory, self.environment)

    def changes(self, before: States) -> tuple[Change, ...]:
        key = self.keys()[0]
        return (self.change(key, before[key], UNPREDICTABLE),)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(self.title, "run", attributes=" ".join(self.argv), key=key)

    def irreversible_reason(self) -> str:
        return self.stays

    def simulate(self, node: Simulation) -> States:
        """Return the effects that a fixture defines for the longest matching prefix of the command."""
        known = [beginning for beginning in node.effects if self.argv[: len(beginning)] == beginning]
        return dict(node.effects[max(known, key=len)]) if known else {}


@performs(RunCommand)
def run_command(machine: LocalMachine, operation: RunCommand, log: Log) -> None:
    """Run the command, as the account if one is given. Raises StepFailed with its last output."""
    from bai_wizard.node.process import last_words, log_lines, run

    identity = _identity(machine, operation.account)
    environment = dict(operation.environment)
    if identity is not None:
        environment = {"HOME": identity.home, "USER": identity.name, "LOGNAME": identity.name, **environment}
    if operation.cancel == "finish" and identity is None and not machine.prefix:
        # Must not be interrupted, like dpkg, whose scripts run the same programs.
        from bai_wizard.node.package_tool import run_package_tool

        completed = run_package_tool(machine.root, operation.argv, operation.title, log, env=environment)
    else:
        completed = run(
            operation.argv,
            timeout=operation.timeout,
            on_timeout=operation.cancel,
            on_line=log_lines(log),
            env=environment,
            account=identity[:3] if identity is not None else None,
            directory=operation.directory,
        )
    if completed.code != 0:
        raise StepFailed(f"{operation.title}: {last_words(completed)}")


def _identity(machine: LocalMachine, account: str) -> Identity | None:
    if account in ("", "root"):
        return None
    identity = machine.identity(account)
    if identity is None:
        raise StepFailed(f"account {account} does not exist on this node")
    return identity
