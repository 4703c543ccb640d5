"""What is to be known of a plan before somebody says yes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bai_wizard.core.overlay import Overlay
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import Blocked, Pending, rehearse
from bai_wizard.core.view import NodeView

# Kinds of step that take minutes rather than seconds, by the words in their names.
SLOW = ("package", "image", "python", "venv", "driver", "download", "pyenv", "archive", "toolkit")


@dataclass(frozen=True)
class Summary:
    """The consequences of a plan, as ids of steps, and what stays after an undo in words."""

    interrupts: tuple[str, ...]
    next_login: tuple[str, ...]
    reboot: tuple[str, ...]
    lasting: tuple[str, ...]
    blocked: tuple[PlannedStep, ...]
    slow: tuple[str, ...]


def summary(plan: Plan) -> Summary:
    """Sums a plan up."""
    pending = plan.pending()
    lasting = [text for item in pending if isinstance(item.verdict, Pending) for text in item.verdict.lasting]
    return Summary(
        interrupts=tuple(dict.fromkeys(what for item in pending for what in item.step.interrupts)),
        next_login=tuple(item.step.id for item in pending if item.step.effect == "next-login"),
        reboot=tuple(item.step.id for item in pending if item.step.effect == "reboot"),
        lasting=tuple(dict.fromkeys(lasting)),
        blocked=plan.blocked(),
        slow=tuple(item.step.id for item in pending if is_slow(item)),
    )


def is_slow(planned: PlannedStep) -> bool:
    """True when the step may take minutes."""
    return any(word in planned.step.kind for word in SLOW)


def without(plan: Plan, excluded: Collection[str], view: NodeView) -> Plan:
    """The plan without some of its steps, the others judged anew: what needed them is blocked or differs."""
    if not excluded:
        return plan
    overlay = Overlay(view)
    kept = tuple(
        PlannedStep(item.step, rehearse(item.step, overlay)) for item in plan.steps if item.step.id not in excluded
    )
    return Plan(plan.host, kept, plan.notes)


def optional_blocked(plan: Plan) -> tuple[PlannedStep, ...]:
    """Steps that cannot be done and need not be."""
    return tuple(item for item in plan.steps if isinstance(item.verdict, Blocked) and item.step.optional)
