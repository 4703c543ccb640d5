"""A command of the system that is none of the other primitives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable

# What happens to the child when the run is cancelled or its time is over (design, section 5, rule 5).
Cancel = Literal["kill", "finish", "abandon"]


@dataclass(frozen=True)
class RunCommand(BasePrimitive):
    """Runs `argv` (never through a shell), as `account` where given, for at most `timeout` seconds.

    `touches` names files whose states the command changes in a way that cannot be predicted: they are read
    before and after, so that the journal can tell. `undo` is the command that takes it back; without one,
    `stays` says what is left behind. With `undo_last` that command runs after everything else is back: it builds
    something anew from the files.
    """

    kind: ClassVar[str] = "run-command"
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
    undo_last: bool = False  # type: ignore[misc]  # a constant of every other kind

    def keys(self) -> tuple[Key, ...]:
        return (Key("command", self.title), *(Key("file", path) for path in self.touches))

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys(), UNPREDICTABLE)

    def inverse(self, before: States) -> BasePrimitive | None:
        if not self.undo:
            return None
        return RunCommand(self.undo, f"undo: {self.title}", self.account, self.directory, self.environment)

    def changes(self, before: States) -> tuple[Change, ...]:
        return (Change(self.title, "run", attributes=" ".join(self.argv)),)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(self.title, "run", attributes=" ".join(self.argv))

    def lasting(self) -> str:
        return self.stays
