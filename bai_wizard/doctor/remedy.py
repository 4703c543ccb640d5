"""Remedies are steps like any others: planned over the node, shown with their diffs, carried out by the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bai_wizard.core.finding import Finding
from bai_wizard.core.overlay import Overlay
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import Blocked, Pending, Step, rehearse
from bai_wizard.core.view import NodeView


def steps_of(findings: Iterable[Finding]) -> tuple[Step, ...]:
    """The steps of these findings' remedies, each once, in their order."""
    seen: dict[str, Step] = {}
    for finding in findings:
        for step in finding.remedy:
            seen.setdefault(step.id, step)
    return tuple(seen.values())


def plan_steps(steps: Sequence[Step], view: NodeView, host: str) -> Plan:
    """What these steps would change on this node, each over what the earlier ones will have done."""
    overlay = Overlay(view)
    return Plan(host, tuple(PlannedStep(step, rehearse(step, overlay)) for step in steps))


def remedy_json(plan: Plan) -> list[dict[str, Any]]:
    """Each step with its changes, for programs."""
    return [_step_json(planned) for planned in plan.steps]


def _step_json(planned: PlannedStep) -> dict[str, Any]:
    verdict = planned.verdict
    body: dict[str, Any] = {
        "id": planned.step.id,
        "describe": planned.step.describe(),
        "effect": planned.step.effect,
        "interrupts": list(planned.step.interrupts),
        "state": verdict.kind,
    }
    if isinstance(verdict, Pending):
        body["changes"] = [{"change": change.headline(), "diff": change.diff()} for change in verdict.changes]
    elif isinstance(verdict, Blocked):
        body["reason"] = verdict.reason
    return body
