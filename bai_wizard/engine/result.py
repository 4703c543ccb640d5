"""How a run ended, step by step, and the resulting exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bai_wizard.core.codec import SHOWN
from bai_wizard.core.event import Outcome
from bai_wizard.core.step import Blocked, Effect, Plan, PlannedStep, Unchanged
from bai_wizard.exit_codes import ExitCode, worst


class StepResult(Struct, frozen=True):
    """The result of one step. `text` is the reason for a failure, or a note."""

    step: str
    describe: str
    outcome: Outcome
    effect: Effect = "now"
    optional: bool = False
    text: str = ""


class Result(Struct, frozen=True):
    """The results of all steps. `stopped` is why the run stopped early: interrupted, reboot, failed, or empty.

    For an undo run, `undone` is the number of changes that this attempt undid, and `kept` the number that it kept.
    Both are None for any other run, and for an undo by a version that did not count them.
    """

    steps: tuple[StepResult, ...] = ()
    stopped: str = ""
    lasting: tuple[str, ...] = ()
    undone: int | None = None
    kept: int | None = None

    def count(self, outcome: Outcome) -> int:
        """How many steps have this outcome."""
        return sum(1 for step in self.steps if step.outcome == outcome)

    def waits_for(self, effect: Effect) -> tuple[StepResult, ...]:
        """The changed steps that take effect only at the next login, or after a reboot."""
        return tuple(step for step in self.steps if step.outcome == "changed" and step.effect == effect)

    def code(self) -> ExitCode:
        """The exit code of the run."""
        codes = [ExitCode.OK]
        failed = [step for step in self.steps if step.outcome == "failed"]
        if any(not step.optional for step in failed):
            codes.append(ExitCode.FAILED)
        elif failed:
            codes.append(ExitCode.OPTIONAL_FAILED)
        if self.stopped == "interrupted":
            codes.append(ExitCode.INTERRUPTED)
        if self.stopped == "reboot":
            codes.append(ExitCode.REBOOT)
        return worst(codes)

    def to_json(self) -> dict[str, Any]:
        """JSON values for `result.json` and the summary event."""
        return {
            "version": 1,
            "code": int(self.code()),
            "stopped": self.stopped,
            "counts": {name: self.count(name) for name in ("changed", "unchanged", "skipped", "failed")},
            "next_login": [step.step for step in self.waits_for("next-login")],
            "reboot": [step.step for step in self.waits_for("reboot")],
            "lasting": list(self.lasting),
            "steps": [SHOWN.encode(step) for step in self.steps],
            **({} if self.undone is None else {"undone": self.undone, "kept": self.kept or 0}),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Result:
        """Read what `to_json` wrote."""
        return Result(
            tuple(SHOWN.decode(StepResult, step) for step in data["steps"]),
            data["stopped"],
            tuple(data["lasting"]),
            *undo_counts(data),
        )


def undo_counts(data: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """`undone` and `kept` of a result; None if they were not counted."""
    undone, kept = data.get("undone"), data.get("kept")
    return (undone, kept) if type(undone) is int and type(kept) is int else (None, None)


def nothing_done(plan: Plan) -> Result:
    """The result of an empty plan: no executor, no run directory. A blocked optional step counts as failed."""
    return Result(tuple(_not_done(item) for item in plan.steps))


def _not_done(item: PlannedStep) -> StepResult:
    step, verdict = item.step, item.verdict
    if isinstance(verdict, Blocked):
        return StepResult(step.id, step.describe(), "failed", step.effect, step.optional, verdict.explain())
    skipped = isinstance(verdict, Unchanged) and verdict.skipped
    note = verdict.note if isinstance(verdict, Unchanged) else ""
    return StepResult(
        step.id, step.describe(), "skipped" if skipped else "unchanged", step.effect, step.optional, note
    )
