"""Carries a confirmed plan out: inspects each step again on the node, applies, verifies, goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bai_wizard.core.change import Change
from bai_wizard.core.errors import CannotTell, NotYetKnown, RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.event import Outcome
from bai_wizard.core.machine import Machine
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import Blocked, Pending, Step, Unchanged
from bai_wizard.engine.run.journal import Journal
from bai_wizard.engine.run.narrator import Narrator, StepLog
from bai_wizard.engine.run.node import Instant, JournalledNode, no_instant
from bai_wizard.engine.run.result import Result, StepResult
from bai_wizard.engine.run.takeback import take_back


@dataclass(frozen=True)
class Carrier:
    """What carrying a plan out needs: the node, where to write, when to stop, what may be interrupted."""

    machine: Machine
    journal: Journal
    narrator: Narrator
    should_stop: Callable[[], bool] = lambda: False
    consent: frozenset[str] = frozenset()
    instant: Instant = no_instant

    def carry_out(self, plan: Plan) -> Result:
        """Does the pending steps in order; the first failure that is not optional ends the run."""
        results: list[StepResult] = []
        lasting: list[str] = []
        stopped = ""
        for planned in plan.steps:
            if not stopped and self.should_stop():
                stopped = "interrupted"
            if stopped:
                results.append(self._left_out(planned, stopped))
                continue
            try:
                result = self._one(planned)
            except RebootNeeded as error:
                stopped = "reboot"
                results.append(_result(planned.step, "skipped", str(error)))
                continue
            results.append(result)
            if result.outcome == "changed" and isinstance(planned.verdict, Pending):
                lasting += planned.verdict.lasting
            if result.outcome == "failed" and not planned.step.optional:
                stopped = "interrupted" if self.should_stop() else "failed"
        return Result(tuple(results), stopped, tuple(dict.fromkeys(lasting)))

    def _left_out(self, planned: PlannedStep, stopped: str) -> StepResult:
        if not planned.is_pending:
            return _result(planned.step, "unchanged")
        reasons = {
            "interrupted": "not begun: the run was asked to stop",
            "reboot": "not begun: waits for the reboot",
            "failed": "not begun: an earlier step failed",
        }
        return _result(planned.step, "skipped", reasons[stopped])

    def _one(self, planned: PlannedStep) -> StepResult:
        step = planned.step
        if isinstance(planned.verdict, Unchanged):
            outcome: Outcome = "skipped" if planned.verdict.skipped else "unchanged"
            return _result(step, outcome, planned.verdict.note)
        if isinstance(planned.verdict, Blocked):
            return _result(step, "failed", planned.verdict.reason)
        opened = self.narrator.tell("started", step.describe(), step=step.id)
        log = StepLog(self.narrator, step.id, opened)
        mark = self.journal.last_number()
        try:
            result = self._apply(planned, log)
        except (StepFailed, StepBlocked, CannotTell, NotYetKnown) as error:
            result = _result(step, "failed", str(error))
        if result.outcome == "failed" and step.undo_on_failure:
            result = self._restore(step, mark, result, log)
        self.narrator.tell(
            "finished",
            result.text,
            step=step.id,
            parent=opened,
            outcome=result.outcome,
            level="error" if result.outcome == "failed" else "info",
        )
        return result

    def _apply(self, planned: PlannedStep, log: StepLog) -> StepResult:
        step = planned.step
        assert isinstance(planned.verdict, Pending)
        now = step.inspect(self.machine)
        if isinstance(now, Unchanged):
            return _result(step, "unchanged", now.note)
        if isinstance(now, Blocked):
            return _result(step, "failed", now.reason)
        refusal = refuse_change(step, planned.verdict, now)
        if refusal:
            return _result(step, "failed", refusal)
        if planned.verdict.known_after:
            for change in now.changes:
                log(change.diff().rstrip("\n"))
        hit = self._unconsented(step)
        if hit:
            return _result(step, "failed", hit)
        step.apply(JournalledNode(self.machine, self.journal, step.id, log, self.instant))
        missing = step.verify(self.machine)
        if missing:
            return _result(step, "failed", f"done, but the effect cannot be read back: {missing}")
        return _result(step, "changed")

    def _unconsented(self, step: Step) -> str:
        for interrupt in step.interrupts:
            hit = self.machine.affected(interrupt)
            if hit and interrupt not in self.consent:
                named = ", ".join(hit[:5])
                return f"{interrupt} pending: it would hit {named}; allow it with --yes-interrupt={interrupt}"
        return ""

    def _restore(self, step: Step, mark: int, result: StepResult, log: StepLog) -> StepResult:
        mine = [entry for entry in self.journal.entries() if entry.number > mark]
        left = take_back(mine, self.journal, self.machine, log).left
        tail = f"; left as it is: {'; '.join(left)}" if left else "; what this step had changed is back as it was"
        return _result(step, "failed", result.text + tail)


def refuse_change(step: Step, planned: Pending, now: Pending) -> str:
    """Why what would be done now is not what was confirmed; empty when it is."""
    if planned.known_after:
        outside = [change.subject for change in now.changes if not _inside(step, change, planned)]
        return f"would touch {', '.join(outside)}, which the plan did not announce" if outside else ""
    if now.known_after:
        return f"changed since review: {now.known_after}"
    if now.changes != planned.changes:
        differing = [change for change in now.changes if change not in planned.changes]
        told = "; ".join(change.headline() for change in differing) or "less is to be done than was shown"
        return f"changed since review, nothing written: {told}. Plan again to see the new difference"
    return ""


def _inside(step: Step, change: Change, planned: Pending) -> bool:
    if change in planned.changes or change.verb == "run":
        return True
    prefixes = [prefix.partition(":")[2] for prefix in step.scope()]
    return any(prefix in change.subject for prefix in prefixes)


def _result(step: Step, outcome: Outcome, text: str = "") -> StepResult:
    return StepResult(step.id, step.describe(), outcome, step.effect, step.optional, text)
