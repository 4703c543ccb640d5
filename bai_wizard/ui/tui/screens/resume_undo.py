"""Confirm another attempt at a run, or its undo: what that would change and interrupt."""

from __future__ import annotations

from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from bai_wizard import compose
from bai_wizard.core.consent import NEVER, TO_DISRUPT, Consent, Disruptions, agree
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.lock import moment
from bai_wizard.engine.undo import UndoPlan
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.session import Attempt, PlannedAt
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.summary import is_whole
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, wizard
from bai_wizard.ui.tui.screens.review import diff_line, diff_of
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.review_list import interruption_text
from bai_wizard.ui.tui.widgets.steps import reason_of_blocked

T = TypeVar("T")


class ConfirmScreen(WizardScreen[T]):
    """Shows what another attempt at a run, or its undo, would do. `action_go` returns it, Esc returns nothing."""

    NEEDS = ("#confirm-text",)

    def __init__(self, run: RunDirectory, heading: str, label: str) -> None:
        """`label`: the name of the action."""
        super().__init__()
        self.run = run
        self._heading = heading
        self._label = label
        self._disruptions: Disruptions = {}
        self._seen = NEVER
        self.planned_at: PlannedAt = None

    def compose(self) -> ComposeResult:
        yield Static(self._heading, classes="title")
        with VerticalScroll(id="confirm-body"):
            yield Static(tr("planning…"), id="confirm-text")
        yield Static(id="refusal")
        yield Actions({"go": self._label, "no": tr("Back")})
        yield Keys((("Enter", N_("Select")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.begin_planning()
        actions = self.query_one(Actions)
        actions.enable("go", False)
        actions.choose("no")
        actions.focus()

    def begin_planning(self) -> None:
        raise NotImplementedError

    def show_plan(self, text: str | Content, *, may_go: bool = False) -> None:
        """Show the plan."""
        self.query_one("#confirm-text", Static).update(text)
        self.query_one(Actions).enable("go", may_go)

    def show_error(self, error: Exception) -> None:
        """Show why planning failed."""
        self.show_plan(reason_of(error))

    def consent(self) -> tuple[Consent, ...]:
        """Consent to what was shown."""
        return agree(self._disruptions, self._disruptions, self._seen)


class UndoScreen(ConfirmScreen[bool | None]):
    """Returns true if the user agreed to undo the run and to the interruptions shown."""

    HELP = "undo"

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run, tr("Undo run {run}", run=run.id), tr("Undo"))
        # How many changes will be undone.
        self.changes = 0

    def begin_planning(self) -> None:
        session, run = wizard(self).session, self.run

        def plan() -> UndoPlan:
            self.planned_at = session.planned_at()
            self._seen = moment()
            return session.plan_undo(run)

        run_in_thread(self.app, plan, self._planned, self.show_error)

    def _planned(self, plan: UndoPlan) -> None:
        self._disruptions = plan.disruptions
        self.changes = len(plan.changes)
        self.show_plan(lines_of(plan), may_go=bool(plan.changes))

    def action_go(self) -> None:
        self.dismiss(True)


class ResumeScreen(ConfirmScreen[Plan | None]):
    """Returns the plan to apply."""

    HELP = "again"

    def __init__(self, run: RunDirectory, excluded: frozenset[str] = frozenset()) -> None:
        super().__init__(run, tr("Resume run {run}", run=run.id), tr("Resume"))
        self._excluded = excluded
        self._plan: Plan | None = None

    def consent(self) -> tuple[Consent, ...]:
        """Consent to what was shown, for as long as the run may wait for its window."""
        conditions = compose.conditions_of(self.run)
        lasts = conditions.longest() if conditions else TO_DISRUPT
        return agree(self._disruptions, self._disruptions, self._seen, lasts)

    def begin_planning(self) -> None:
        session, fact_cache, run = wizard(self).session, wizard(self).plan_model.fact_cache, self.run
        excluded = self._excluded
        run_in_thread(
            self.app,
            lambda: session.plan_resume(run, fact_cache.fresh_plan, excluded=excluded),
            self._planned,
            self.show_error,
        )

    def _planned(self, attempt: Attempt) -> None:
        self._plan = plan = attempt.plan
        self._disruptions, self._seen, self.planned_at = attempt.disruptions, attempt.seen, attempt.planned_at
        lines = [Content(tr(line)) for line in attempt.messages]
        lines += [diff_of(item) for item in plan.pending()]
        if self.run.kind == "undo":
            lines = [Content(tr("The rest of the undo will be done; each change is compared with the node first."))]
        lines = hit_lines(self._disruptions) + lines or [Content(tr("There is nothing left to do."))]
        blocked = plan.blocked()
        if blocked:
            step, reason = blocked[0].step, reason_of_blocked(blocked[0])
            self.query_one("#refusal", Static).update(f"! {tr(step.describe())}: {reason}")
        self.show_plan(Content("\n").join(lines), may_go=not blocked)

    def action_go(self) -> None:
        self.dismiss(self._plan)


def lines_of(plan: UndoPlan) -> Content:
    """The undo's plan, as lines."""
    lines = hit_lines(plan.disruptions)
    count = len(plan.changes) - plan.commands
    lines += [Content(ntr("{count} change will be undone:", "{count} changes will be undone, newest first:", count))]
    lines += [Content(tr("Recovered first: {what}", what=redact(text))) for text in plan.recovered]
    step = ""
    for name, change in plan.changes:
        if name != step:
            step = name
            lines += [Content(""), Content.styled(tr(name), "bold")]
        text = change.headline() if is_whole(change) else change.diff()
        lines += [diff_line(line) for line in redact(text).rstrip("\n").split("\n")]
    for conflict in plan.conflicts:
        lines += [Content(""), Content.styled(tr("Kept:"), "bold $text-warning")]
        lines += [Content("  " + line) for line in tr(redact(conflict)).splitlines()]
    for damage in plan.damages:
        lines += [Content.styled(tr("Cannot be undone, because records are damaged:"), "bold $text-warning")]
        lines += [Content("  " + line) for line in tr(redact(damage)).splitlines()]
    lines += [Content(tr("Kept by undo: {what}", what=what)) for what in plan.lasting]
    return Content("\n").join(lines)


def hit_lines(disruptions: Disruptions) -> list[Content]:
    """What would be interrupted, one line per kind."""
    return [Content.styled(f"! {interruption_text(what, disruptions)}", "bold $text-warning") for what in disruptions]
