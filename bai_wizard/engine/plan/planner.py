"""The planner: walks the pages in order over the predicted node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bai_wizard.core.context import Context
from bai_wizard.core.overlay import Overlay
from bai_wizard.core.page import Facts, Page, Settings
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import rehearse
from bai_wizard.core.view import NodeView


@dataclass(frozen=True)
class PageWork:
    """One page that applies, with what the answers want and what its probe found."""

    page: Page
    settings: Settings
    facts: Facts


def make_plan(works: Sequence[PageWork], view: NodeView, context: Context) -> Plan:
    """The plan of these pages, in their order, each step over what the earlier ones will have done."""
    overlay = Overlay(view)
    planned: list[PlannedStep] = []
    for work in works:
        facts = work.page.predict(work.facts, overlay)
        for step in work.page.steps(work.settings, facts, context):
            planned.append(PlannedStep(step, rehearse(step, overlay)))
    _refuse_duplicates(planned)
    return Plan(context.host, tuple(planned))


def _refuse_duplicates(planned: Sequence[PlannedStep]) -> None:
    seen: set[str] = set()
    for item in planned:
        if item.step.id in seen:
            raise ValueError(f"two steps are called {item.step.id!r}: ids name steps in journals and answers")
        seen.add(item.step.id)
