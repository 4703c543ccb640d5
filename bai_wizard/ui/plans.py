"""Plans for the front ends: cached facts, plans made from them, and summaries for confirmation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any

from bai_wizard.compose import DesiredState, packages_of, sourced, sourced_to_probe, table_of, with_notes
from bai_wizard.core.debug_log import debug
from bai_wizard.core.errors import PlanOutdated, WizardError
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.page import Page, Probing, Settings, Shown, Unknown
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.step import Plan, PlannedStep, dry_run
from bai_wizard.engine.planner import PageWork, make_plan
from bai_wizard.locale import tr
from bai_wizard.node.deadline import map_concurrently
from bai_wizard.pages import load

Loader = Callable[[str], Page]


class FactCache:
    """Caches facts until they are discarded or requested with other settings. Thread-safe."""

    def __init__(self, foreseen: Callable[[], Machine], loader: Loader = load) -> None:
        """`foreseen`: the node to probe, as predicted after interrupted runs are recovered."""
        self._foreseen = foreseen
        self.page = loader
        self._lock = threading.Lock()
        self._facts: dict[str, tuple[tuple[Settings, Any], Any]] = {}
        self._so_far: dict[str, Any] = {}

    def probe(self, name: str, desired: DesiredState, tell: Callable[[], None] = lambda: None) -> Any:
        """Probe one page, however long it takes, and cache its facts. Raises WizardError.

        `tell` is called for each new fact in `so_far`, if the page reports its facts one by one.
        """
        probed = sourced_to_probe(desired)
        page, settings = self.page(name), probed.settings[table_of(name)]

        def take(facts: Any) -> None:
            self._so_far[name] = facts
            tell()

        machine, begun = self._foreseen(), monotonic()
        if page.probe_telling is not None:
            result = page.probe_telling(machine, settings, probed.context, take)
        else:
            result = page.probe(machine, settings, probed.context)
        debug("page %s: probed in %.3f s", name, monotonic() - begun)
        with self._lock:
            self._facts[name] = ((desired.settings[table_of(name)], desired.context), result)
            self._so_far.pop(name, None)
        return result

    def so_far(self, name: str) -> Any | None:
        """What is known about a page so far: the facts of its last probe, or the partial facts of the first."""
        result = self.facts(name)
        return self._so_far.get(name) if result is None else result

    def facts(self, name: str) -> Any | None:
        """The facts of a page's last probe, whatever its settings; None before the first."""
        with self._lock:
            kept = self._facts.get(name)
        return kept[1] if kept else None

    def is_fresh(self, name: str, desired: DesiredState) -> bool:
        """Whether a page was probed with exactly these settings."""
        with self._lock:
            kept = self._facts.get(name)
        return kept is not None and kept[0] == (desired.settings[table_of(name)], desired.context)

    def now(self, name: str) -> tuple[tuple[str, str], ...]:
        """A page's facts as label/value pairs; empty before the first probe."""
        facts = self.so_far(name)
        if facts is None:
            return ()
        return tuple(
            (what, Shown(tr(value), value.fact) if isinstance(value, Shown) else tr(value))
            for what, value in self.page(name).now(facts)
        )

    def plan(self, desired: DesiredState) -> Plan:
        """The plan of those pages of the desired state that have been probed. Raises WizardError."""
        desired = sourced(desired)
        machine = self._foreseen()
        works = [
            PageWork(self.page(name), desired.settings[table_of(name)], facts)
            for name in desired.pages
            if (facts := self.facts(name)) is not None
        ]
        machine.packages_from = packages_of(desired.context.bundle)
        return with_notes(make_plan(works, machine, desired.context), desired)

    def fresh_plan(self, desired: DesiredState) -> Plan:
        """The plan of all pages of the desired state, each probed again, concurrently. Raises WizardError."""
        map_concurrently(lambda name: self.probe(name, desired), desired.pages)
        return self.plan(desired)


def outdated_or(error: BaseException) -> str:
    """`reason_of` for a run that was not begun, with advice on an outdated plan for interactive front ends."""
    if isinstance(error, PlanOutdated):
        return tr("Another run has started since this plan was made. Nothing was changed; review the plan again.")
    return reason_of(error)


def reason_of(error: BaseException) -> str:
    """Why a probe or plan failed, as human-readable text."""
    return tr(str(error)) if isinstance(error, WizardError) else f"{type(error).__name__}: {error}"


def unknowns(facts: object) -> tuple[tuple[str, Unknown], ...]:
    """The facts of a page that could not be determined, by their names."""
    names = getattr(facts, "__struct_fields__", ())
    return tuple(
        (name.replace("_", " "), value)
        for name in names
        if isinstance(value := getattr(facts, name), Unknown) and not isinstance(value, Probing)
    )


def without_steps(plan: Plan, excluded: Collection[str], view: NodeView) -> Plan:
    """The plan without some of its steps, the others re-planned: those that depend on them are blocked or differ."""
    if not excluded:
        return plan
    predicted = PredictedNode(view)
    kept = tuple(
        PlannedStep(item.step, dry_run(item.step, predicted)) for item in plan.steps if item.step.id not in excluded
    )
    return Plan(plan.host, kept, plan.notes)
