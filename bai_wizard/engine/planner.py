"""The planner: plans the pages in order over the predicted node."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.core.page import Context, Facts, Page, Settings
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.step import Plan, PlannedStep, Step, Unset, dry_run

# Kinds of keys whose steps need a package manager without interrupted operations.
OF_PACKAGES = ("package", "package-lists")


class PageWork(Struct, frozen=True):
    """One page that applies, with its settings and the facts from its probe."""

    page: Page
    settings: Settings
    facts: Facts


def make_plan(works: Sequence[PageWork], view: NodeView, context: Context) -> Plan:
    """The plan of these pages, in their order; each step sees the predicted results of the earlier ones."""
    overlay = PredictedNode(view)
    planned: list[PlannedStep] = []
    unset: list[Unset] = []
    for work in works:
        predicted = replace(work, facts=work.page.predict(work.facts, overlay))
        planned += _plan(predicted, overlay, context)
        if reason := work.page.unset(work.settings, predicted.facts, context):
            unset.append(Unset(work.page.name, reason))
    if works:
        planned += _plan_completion(works[-1].page.name, overlay)
    _refuse_duplicates(planned)
    return Plan(context.host, tuple(planned), unset=tuple(unset))


def disruptive_last(plan: Plan, view: NodeView) -> Plan:
    """The plan with its disruptive steps, and all that may depend on them, after everything else.

    A later step may depend on a disruptive one if it is of the same page, uses the container engine, or would do
    something else without it. If the order cannot be changed without changing what is done, the plan stays as it is.
    """
    late = _late(plan)
    while True:
        early = [item for item in plan.steps if item.step.id not in late]
        overlay = PredictedNode(view)
        differing = next((item for item in early if dry_run(item.step, overlay) != item.verdict), None)
        if differing is None:
            break
        late.add(differing.step.id)
    rest = [item for item in plan.steps if item.step.id in late]
    if any(dry_run(item.step, overlay) != item.verdict for item in rest):
        return plan
    return replace(plan, steps=(*early, *rest))


def _late(plan: Plan) -> set[str]:
    """The disruptive steps, and those that follow one on a page that needs it."""
    result, pages = set[str](), set[str]()
    for item in plan.steps:
        if item.is_pending and item.step.interrupts:
            pages |= {item.step.page, *(("images",) if "docker.restart" in item.step.interrupts else ())}
        if item.step.page in pages:
            result.add(item.step.id)
    return result


def plan_page(work: PageWork, predicted: PredictedNode, context: Context, *, is_last: bool) -> list[PlannedStep]:
    """The steps of one page, over the results of the earlier pages as predicted by `predicted`."""
    planned = _plan(replace(work, facts=work.page.predict(work.facts, predicted)), predicted, context)
    return [*planned, *(_plan_completion(work.page.name, predicted) if is_last else ())]


def _plan(work: PageWork, predicted: PredictedNode, context: Context) -> list[PlannedStep]:
    planned: list[PlannedStep] = []
    for step in work.page.steps(work.settings, work.facts, context):
        first = _completion(predicted, work.page.name, optional=True) if _changes_packages(step) else ()
        planned += [PlannedStep(each, dry_run(each, predicted)) for each in (*first, step)]
    return planned


def _plan_completion(page: str, predicted: PredictedNode) -> list[PlannedStep]:
    return [PlannedStep(each, dry_run(each, predicted)) for each in _completion(predicted, page)]


def _changes_packages(step: Step) -> bool:
    return any(getattr(scope, "kind", "") in OF_PACKAGES for scope in step.scope())


def _completion(predicted: PredictedNode, page: str, *, optional: bool = False) -> tuple[Step, ...]:
    """Complete interrupted package operations: before the first step that changes packages, otherwise at the end.

    Optional before other steps, so that those that do not need the damaged package can continue.
    """
    try:
        unfinished = predicted.unfinished()
    except StateUnknown:
        return ()  # steps that change packages read the same database and report the problem
    if unfinished is None:
        return ()
    from bai_wizard.steps.packages import completion

    return (completion(unfinished, page, optional=optional),)


def _refuse_duplicates(planned: Sequence[PlannedStep]) -> None:
    seen: set[str] = set()
    for item in planned:
        if item.step.id in seen:
            raise ValueError(f"two steps have the ID {item.step.id!r}: IDs identify steps in journals and answers")
        seen.add(item.step.id)
