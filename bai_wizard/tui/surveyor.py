"""Looks at the node and plans, always in the background, and tells everybody when something moved."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from textual.signal import Signal
from textual.timer import Timer

from bai_wizard.compose import Wish
from bai_wizard.core.plan import Plan, PlannedStep
from bai_wizard.core.step import Unchanged
from bai_wizard.pages import ORDER, TABLES, settings_of
from bai_wizard.tui import status
from bai_wizard.tui.background import Came, Outcome, behind
from bai_wizard.wizard.draft import Draft
from bai_wizard.wizard.survey import Survey, reason_of

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp

# How long after the last key a new plan is begun, in seconds.
DEBOUNCE = 0.25
# Looking at the node may mean a trial mount or a registry: with a half-typed value it is not done at all, unless
# the keys have rested for so long, in seconds.
LOOK_AFTER = 3.0
# What moves within so many seconds is drawn at once; a slow line has less patience for small changes.
PAUSE = 0.03
# Garbage is looked for in few objects at a time, in all of them hardly ever: a page that was left needs no search.
COLLECT = (10_000, 5, 200)
SERIAL_PAUSE = 0.8


class Surveyor:
    """The survey of this node for this draft. `moved` is sent with the name of a page, or empty for all."""

    def __init__(self, app: WizardApp, draft: Draft, survey: Survey) -> None:
        self.app = app
        self.draft = draft
        self.survey = survey
        self.plan: Plan | None = None
        self.reason = ""
        self.reasons: dict[str, str] = {}
        self.running_page = ""
        self._begun = False
        self.moved: Signal[str] = Signal(app, "moved")
        self._looking: set[str] = set()
        self._began: dict[str, float] = {}
        self._look_again: set[str] = set()
        self._planning = False
        self._plan_again = False
        self._timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._moved: set[str] = set()
        self._telling: Timer | None = None

    def begin(self) -> None:
        """Imports the pages where no key has to wait for that, then looks at all of them at once."""
        behind(self.app, self._import_pages, self._look_at_all)

    def _import_pages(self) -> None:
        for table in TABLES:
            settings_of(table)
        for page in ORDER:
            self.survey.page(page)

    def _look_at_all(self, imported: Outcome[None]) -> None:
        imported.get()
        # What was imported stays: a collection that walks through all of it holds the screen up for 60 ms and more.
        gc.freeze()
        gc.set_threshold(*COLLECT)
        self._begun = True
        for page in ORDER:
            self._look(page)

    def tell(self, page: str = "") -> None:
        """Tells that something moved, together with whatever else moves within a moment."""
        self._moved.add(page)
        if self._telling is None:
            pause = SERIAL_PAUSE if self.app.console_kind.serial else PAUSE
            self._telling = self.app.set_timer(pause, self._publish)

    def _publish(self) -> None:
        moved, self._moved, self._telling = self._moved, set(), None
        self.moved.publish(moved.pop() if len(moved) == 1 else "")

    def edited(self, *, typing: bool = False) -> None:
        """Somebody changed the draft: plan again when the keys have come to rest, and look when the field is done."""
        for timer in (self._timer, self._look_timer):
            if timer is not None:
                timer.stop()
        self._timer = self.app.set_timer(DEBOUNCE, self._make_plan if typing else self.refresh)
        self._look_timer = self.app.set_timer(LOOK_AFTER, self.refresh) if typing else None
        self.tell("")

    def typed(self) -> None:
        """The field that was typed into is left: what it says now is looked at."""
        if self._look_timer is not None:
            self._look_timer.stop()
            self._look_timer = None
            self.refresh()

    def refresh(self) -> None:
        """Plans with what is known, and looks again where the settings are not those of the last look."""
        self._look_timer = None
        wish = self.draft.wish_to_look()
        for page in ORDER:
            if not self.survey.is_fresh(page, wish):
                self._look(page)
        self._make_plan()

    def recheck(self, page: str = "") -> None:
        """Forgets what was found, at one page or everywhere, and looks again."""
        for name in (page,) if page else ORDER:
            self._look(name)
        self.tell(page)

    @property
    def is_busy(self) -> bool:
        """True while a look or a plan has not come back."""
        return not self._begun or bool(self._looking) or self._planning or self._look_timer is not None

    def status(self, page: str) -> status.Status:
        """The page's state in words."""
        if page == self.running_page:
            return status.running()
        if page in self.draft.skipped:
            return status.skipped()
        if not self._begun:  # the first picture does not wait for the settings of all pages
            return status.looking()
        if not self.draft.is_valid(page):
            return status.needs_input()
        if page in self.reasons or (self.reason and page not in self._looking):
            return status.cannot_tell()
        if self.plan is None or self.survey.facts(page) is None:
            return status.looking()
        return status.status_of_plan(page, self.plan)

    def steps(self, page: str) -> tuple[PlannedStep, ...]:
        """The page's steps that have something to say, as last planned."""
        if self.plan is None:
            return ()
        return tuple(
            item
            for item in self.plan.steps
            if item.step.page == page and not (isinstance(item.verdict, Unchanged) and not item.verdict.note)
        )

    def _look(self, page: str) -> None:
        if page in self._looking:
            self._look_again.add(page)
            return
        self._looking.add(page)
        wish = self.draft.wish_to_look()
        self._began[page] = time.monotonic()
        more = Came(lambda: self.tell(page))
        behind(
            self.app,
            lambda: self.survey.look(page, wish, lambda: self._hear(more)),
            lambda outcome: self._looked(page, outcome),
        )

    def _hear(self, more: Came) -> None:
        self.app.post_message(more)

    def looks_for(self, page: str) -> float:
        """For how many seconds a page has been looked at; 0.0 when it is not just now."""
        return time.monotonic() - self._began[page] if page in self._looking else 0.0

    def _looked(self, page: str, outcome: Outcome[object]) -> None:
        self._looking.discard(page)
        self.reasons.pop(page, None)
        if outcome.error is not None:
            self.reasons[page] = reason_of(outcome.error)
        if page in self._look_again:
            self._look_again.discard(page)
            self._look(page)
        self.tell(page)
        self._make_plan()

    def _make_plan(self) -> None:
        if self._planning:
            self._plan_again = True
            return
        self._planning = True
        wish: Wish = self.draft.wish()
        behind(self.app, lambda: self.survey.plan(wish), self._planned)

    def _planned(self, outcome: Outcome[Plan]) -> None:
        self._planning = False
        self.reason = "" if outcome.error is None else reason_of(outcome.error)
        if outcome.error is None:
            self.plan = outcome.get()
        if self._plan_again:
            self._plan_again = False
            self._make_plan()
        self.tell("")
