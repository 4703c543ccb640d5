"""The errors that have a meaning of their own; `cli.py` alone turns them into exit codes."""

from __future__ import annotations

from dataclasses import dataclass


class WizardError(Exception):
    """Something the operator should read: a sentence, never a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the answers. `line` and `column` count from 1; 0 means «no line»."""

    file: str
    line: int
    column: int
    key: str
    reason: str
    quoted: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f" {self.key}" if self.key else ""
        text = f"{place}{subject}: {self.reason}"
        return f"{text}\n    {self.quoted}" if self.quoted else text


class AnswersError(WizardError):
    """The answers are wrong in themselves (exit 2). Carries every problem, not the first one."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PreflightError(WizardError):
    """This node, or a server, does not allow what is asked; nothing was touched (exit 3)."""


class StepFailed(WizardError):
    """A step could not do what it promised (exit 4). The message names the cause and the next thing to do."""


class StepBlocked(WizardError):
    """A step says at planning that it must not be done here; the message is the reason (exit 3 unless optional)."""


class CannotTell(WizardError):
    """A read had no answer: needs root, timed out, or is malformed. Never to be taken for «absent»."""


class NotYetKnown(WizardError):
    """A read depends on what an earlier step of the same plan will have done.

    `after` is the id of that step; its result cannot be predicted.
    """

    def __init__(self, after: str) -> None:
        super().__init__(f"known after {after}")
        self.after = after


class RebootNeeded(WizardError):
    """The rest can be done only after a reboot (exit 5); `resume` goes on from there."""


class LockHeld(PreflightError):
    """Another run holds the lock (exit 3). `run` is its id, empty when it cannot be told."""

    def __init__(self, run: str, text: str) -> None:
        super().__init__(text)
        self.run = run
