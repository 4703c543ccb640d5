"""How a run ended, step by step, and the exit code that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bai_wizard.core.codec import SHOWN
from bai_wizard.core.event import Outcome
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import Blocked, Effect, Unchanged
from bai_wizard.exits import ExitCode, worst


@dataclass(frozen=True)
class StepResult:
    """One step's end. `text` is the reason where it did not go well, or what is to be known."""

    step: str
    describe: str
    outcome: Outcome
    effect: Effect = "now"
    optional: bool = False
    text: str = ""


@dataclass(frozen=True)
class Result:
    """All steps' ends. `stopped` is why the run did not go on: interrupted, reboot, or empty."""

    steps: tuple[StepResult, ...] = ()
    stopped: str = ""
    lasting: tuple[str, ...] = field(default=())

    def count(self, outcome: Outcome) -> int:
        """How many steps ended so."""
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
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Result:
        """Reads what `to_json` wrote."""
        return Result(
            tuple(SHOWN.decode(StepResult, step) for step in data["steps"]),
            data["stopped"],
            tuple(data["lasting"]),
        )


def nothing_done(plan: Plan) -> Result:
    """The result of an empty plan: no executor, no run directory. An optional step that is blocked has failed."""
    return Result(tuple(_not_done(item) for item in plan.steps))


def _not_done(item: PlannedStep) -> StepResult:
    step, verdict = item.step, item.verdict
    if isinstance(verdict, Blocked):
        return StepResult(step.id, step.describe(), "failed", step.effect, step.optional, verdict.reason)
    skipped = isinstance(verdict, Unchanged) and verdict.skipped
    note = verdict.note if isinstance(verdict, Unchanged) else ""
    return StepResult(
        step.id, step.describe(), "skipped" if skipped else "unchanged", step.effect, step.optional, note
    )
