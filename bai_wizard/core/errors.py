"""The error classes; only `cli.py` maps them to exit codes."""

from __future__ import annotations

from msgspec import Struct


class WizardError(Exception):
    """An error message for the operator: a sentence, never a traceback."""


class Problem(Struct, frozen=True):
    """One problem in the answers. `line` and `column` are 1-based; 0 means that the line is unknown."""

    file: str
    line: int
    column: int
    key: str
    reason: str
    quoted: str = ""

    def __str__(self) -> str:
        location = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        subject = f" {self.key}" if self.key else ""
        text = f"{location}{subject}: {self.reason}"
        return f"{text}\n    {self.quoted}" if self.quoted else text


class AnswersError(WizardError):
    """The answers are invalid (exit code 2). Carries all problems, not just the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class PreflightError(WizardError):
    """This node or a server does not allow the request; nothing was changed (exit code 3)."""


class PlanOutdated(PreflightError):
    """Another run has started since this plan was made or since this run was selected (exit code 3)."""

    def __init__(self) -> None:
        super().__init__("another run has started in the meantime; nothing was changed. Run this command again")


class OutputLost(PreflightError):
    """Standard output cannot be written. Raised before a run starts; a run that has started continues."""


class StepFailed(WizardError):
    """A step failed (exit code 4). The message names the cause and the next action."""


class StepBlocked(WizardError):
    """During planning, a step reports that it must not be applied here (exit code 3 unless optional).

    The message is the reason.
    """


class StateUnknown(WizardError):
    """A read failed: it needs root, timed out, or the data is malformed. Must never be treated as absent."""


class ProgramMissing(StateUnknown):
    """The program is not installed on this node."""


class TimedOut(StateUnknown):
    """The child did not answer in time; its process group was killed, or it was left running."""


class AccessDenied(StateUnknown):
    """The process that read has no permission; another owner or mode would change that."""


class DependsOnBlocked(StateUnknown):
    """A read depends on the result of an earlier step of the same plan that is not applied.

    `after` is the id of that step. `undetermined`: whether that step would be applied cannot be determined either.
    """

    def __init__(self, after: str, *, undetermined: bool) -> None:
        super().__init__(f"it depends on {after}, which cannot be applied")
        self.after = after
        self.undetermined = undetermined


class KnownAfterApply(WizardError):
    """A read depends on the result of an earlier step of the same plan.

    `after` is the id of that step, whose result cannot be predicted.
    """

    def __init__(self, after: str) -> None:
        super().__init__(f"known after {after}")
        self.after = after


class RebootNeeded(WizardError):
    """The remaining work needs a reboot first (exit code 5); `resume` continues from there."""


class RunCancelled(WizardError):
    """The run was asked to stop while a step waited; the step has changed nothing."""


class LockHeld(PreflightError):
    """Another run holds the lock (exit code 3). `run` is its id, or empty if unknown."""

    def __init__(self, run: str, text: str) -> None:
        super().__init__(text)
        self.run = run
