"""Probe the node and plan in the background, notify subscribers of changes, and summarize the node."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.signal import Signal
from textual.timer import Timer

from bai_wizard.compose import DesiredState
from bai_wizard.core.page import Known, value_or
from bai_wizard.core.step import Plan, PlannedStep, Unchanged
from bai_wizard.locale import ntr, tr
from bai_wizard.pages import ORDER, TABLES, settings_of
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.node.probe import NodeFacts
from bai_wizard.ui.draft import Draft, DraftProblem, tables_of
from bai_wizard.ui.form_fields import path_in_words
from bai_wizard.ui.plans import FactCache, reason_of
from bai_wizard.ui.tui.base import WorkDone, run_in_thread
from bai_wizard.ui.tui.widgets.sidebar import Status, status_of_plan

if TYPE_CHECKING:
    from bai_wizard.ui.tui.app import WizardApp


# How long after the last key press a new plan is started, in seconds.
DEBOUNCE = 0.25
# Probing the node may involve a trial mount or a registry: with a half-typed value it is not done at all, unless no
# key has been pressed for this long, in seconds.
PROBE_AFTER = 3.0
# Changes within this many seconds are drawn together; a slow line combines small changes over a longer time.
PAUSE = 0.03
# Garbage collection thresholds: young objects often, a full collection hardly ever; closed pages need no search.
COLLECT = (10_000, 5, 200)
SERIAL_PAUSE = 0.8


class PlanModel:
    """The plan of this node for this draft. `moved` is published with the name of a page, or empty for all."""

    def __init__(self, app: WizardApp, draft: Draft, fact_cache: FactCache) -> None:
        self.app = app
        self.draft = draft
        self.fact_cache = fact_cache
        self.plan: Plan | None = None
        self.reason = ""
        self.reasons: dict[str, str] = {}
        self.running_page = ""
        self._begun = False
        self.moved: Signal[str] = Signal(app, "moved")
        self._probing: set[str] = set()
        self._began: dict[str, float] = {}
        self._probe_again: set[str] = set()
        self._planning = False
        self._plan_again = False
        self._timer: Timer | None = None
        self._probe_timer: Timer | None = None
        self._moved: set[str] = set()
        self._problems: list[tuple[DraftProblem, ...]] = []
        self._telling: Timer | None = None

    def begin(self) -> None:
        """Import the pages in a thread, where no key press has to wait for it, then probe all of them at once."""
        run_in_thread(self.app, self._import_pages, self._probe_all)

    def _import_pages(self) -> None:
        for table in TABLES:
            settings_of(table)
        for page in ORDER:
            self.fact_cache.page(page)

    def _probe_all(self, _imported: None) -> None:
        # What was imported stays: a collection that traverses all of it blocks the screen for 60 ms and more.
        gc.freeze()
        gc.set_threshold(*COLLECT)
        self._begun = True
        for page in ORDER:
            self._probe(page)

    def tell(self, page: str = "") -> None:
        """Announce a change, together with any others within a moment."""
        self._moved.add(page)
        if self._telling is None:
            pause = SERIAL_PAUSE if self.app.console_kind.serial else PAUSE
            self._telling = self.app.set_timer(pause, self._publish)

    def _publish(self) -> None:
        moved, self._moved, self._telling = self._moved, set(), None
        self.moved.publish(moved.pop() if len(moved) == 1 else "")

    def edited(self, *, typing: bool = False) -> None:
        """Handle a changed draft: plan when typing has paused, and probe when the field is complete."""
        for timer in (self._timer, self._probe_timer):
            if timer is not None:
                timer.stop()
        self._timer = self.app.set_timer(DEBOUNCE, self._make_plan if typing else self.refresh)
        self._probe_timer = self.app.set_timer(PROBE_AFTER, self.refresh) if typing else None
        self.app.keeper.changed()
        if not typing or self._has_other_problems():
            self.tell("")

    def _has_other_problems(self) -> bool:
        """Whether the problems differ from those at the last call; otherwise a key repaints only its field."""
        before, self._problems = self._problems, [self.draft.problems(table) for table in TABLES]
        return before != self._problems

    def typed(self) -> None:
        """Handle leaving a field that was typed into: probe with its new value."""
        if self._probe_timer is not None:
            self._probe_timer.stop()
            self._probe_timer = None
            self.refresh()

    def refresh(self) -> None:
        """Plan with the known facts, and probe again if the settings differ from those of the last probe."""
        self._probe_timer = None
        desired = self.draft.desired_to_probe()
        for page in ORDER:
            if not self.fact_cache.is_fresh(page, desired):
                self._probe(page)
        self._make_plan()

    def recheck(self, page: str = "") -> None:
        """Probe again, one page or all of them."""
        for name in (page,) if page else ORDER:
            self._probe(name)
        self.tell(page)

    @property
    def is_busy(self) -> bool:
        """Whether a probe or a plan is still in progress."""
        return not self._begun or bool(self._probing) or self._planning or self._probe_timer is not None

    def status(self, page: str) -> Status:
        if page == self.running_page:
            return Status(tr("running"), "busy")
        if page in self.draft.skipped:
            return Status(tr("skipped"), "quiet")
        if not self._begun:  # the first frame does not wait for the settings of all pages
            return Status(tr("checking…"), "busy")
        if not self.draft.is_valid(page):
            return Status(tr("needs input"), "bad")
        if page in self.reasons or (self.reason and page not in self._probing):
            return Status(tr("unknown"), "bad")
        if self.plan is None or self.fact_cache.facts(page) is None:
            return Status(tr("checking…"), "busy")
        return status_of_plan(page, self.plan)

    def needs_attention(self, page: str) -> bool:
        """Whether a page has a problem, or lacks a value without which it cannot be applied."""
        if page in self.draft.skipped:
            return False
        needed = [row.field.split(".") for row in self.fact_cache.page(page).rows if row.is_needed]
        missing = any(not self.draft.value(table, tuple(path)) for table, *path in needed)
        return missing or self.status(page).mood == "bad"

    def steps(self, page: str) -> tuple[PlannedStep, ...]:
        """The page's steps that have something to show, as last planned."""
        if self.plan is None:
            return ()
        return tuple(
            item
            for item in self.plan.steps
            if item.step.page == page and not (isinstance(item.verdict, Unchanged) and not item.verdict.note)
        )

    def all_steps(self, page: str) -> tuple[PlannedStep, ...]:
        """All steps of the page, as last planned."""
        return tuple(item for item in self.plan.steps if item.step.page == page) if self.plan is not None else ()

    def summary(self, page: str) -> str:
        """What a page changes or what blocks it, in one line."""
        from bai_wizard.ui.overview import summary

        if not self._begun or page in self.draft.skipped:
            return ""
        for table in tables_of(page):
            if problems := self.draft.problems(table):
                model = settings_of(table)
                what = path_in_words({"": model}, self.draft.value(table, ()), problems[0].path)
                return f"{what}: {problems[0].reason}" if what else problems[0].reason
        if page in self.reasons:
            return self.reasons[page]
        unset = [item.reason for item in self.plan.unset if item.page == page] if self.plan is not None else []
        return summary(self.all_steps(page)) or "; ".join(map(tr, unset))

    def node_summary(self) -> Iterator[str]:
        """Release, cores, memory, accelerators, roles: as far as they are known yet."""
        if self.app.session.demo:
            yield tr("demo: {name}", name=self.app.session.demo)
        node = self.fact_cache.facts("node")
        if isinstance(node, NodeFacts):
            yield from _node(node)
        cards = self.fact_cache.facts("accelerators")
        if isinstance(cards, AcceleratorsFacts) and isinstance(cards.cards, Known):
            counted = Counter(card.model for card in cards.cards.value)
            yield from (f"{count} × {model}" for model, count in counted.items())
        settings = self.draft.settings("node")
        if settings is not None:
            yield "+".join(getattr(settings, "roles", ()))

    def _probe(self, page: str) -> None:
        if page in self._probing:
            self._probe_again.add(page)
            return
        self._probing.add(page)
        desired = self.draft.desired_to_probe()
        self._began[page] = time.monotonic()
        more = WorkDone(lambda: self.tell(page))
        run_in_thread(
            self.app,
            lambda: self.fact_cache.probe(page, desired, lambda: self._receive(more)),
            lambda _facts: self._probed(page),
            lambda error: self._probed(page, reason_of(error)),
        )

    def _receive(self, more: WorkDone) -> None:
        self.app.post_message(more)

    def looks_for(self, page: str) -> float:
        """For how many seconds a page has been probed; 0.0 if it is not being probed."""
        return time.monotonic() - self._began[page] if page in self._probing else 0.0

    def _probed(self, page: str, reason: str = "") -> None:
        self._probing.discard(page)
        self.reasons.pop(page, None)
        if reason:
            self.reasons[page] = reason
        if page in self._probe_again:
            self._probe_again.discard(page)
            self._probe(page)
        self.tell(page)
        self._make_plan()

    def _make_plan(self) -> None:
        if self._planning:
            self._plan_again = True
            return
        self._planning = True
        desired: DesiredState = self.draft.desired()
        run_in_thread(
            self.app,
            lambda: self.fact_cache.plan(desired),
            self._planned,
            lambda error: self._planned(None, reason_of(error)),
        )

    def _planned(self, plan: Plan | None, reason: str = "") -> None:
        self._planning = False
        self.reason = reason
        if plan is not None:
            self.plan = plan
        if self._plan_again:
            self._plan_again = False
            self._make_plan()
        self.tell("")


GIB = 2**30


def _node(node: NodeFacts) -> Iterator[str]:
    release = value_or(node.release, None)
    if release is not None:
        yield f"{release.id.capitalize()} {release.version}"
    processor = value_or(node.processor, None)
    if processor is not None:
        yield ntr("{count} core", "{count} cores", processor.cores)
    memory = value_or(node.memory, None)
    if memory is not None:
        yield f"{memory.total / GIB:.0f} GiB"
