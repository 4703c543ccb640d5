"""The plan, for confirmation: its consequences, its steps by page and meaning, and all of its changes as a diff."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus

from bai_wizard import compose
from bai_wizard.core.consent import NEVER, Consent, Disruptions, Moment, agree
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Blocked, Pending, Plan, PlannedStep
from bai_wizard.engine.lock import moment
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import TITLES
from bai_wizard.session import PlannedAt
from bai_wizard.ui import present
from bai_wizard.ui.consequences import consequences_of
from bai_wizard.ui.durations import history_of
from bai_wizard.ui.plans import reason_of, without_steps
from bai_wizard.ui.tui.base import Dialogue, Static, run_in_thread, while_mounted, wizard
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.consequence_bar import ConsequenceBar
from bai_wizard.ui.tui.widgets.list_box import ListBox
from bai_wizard.ui.tui.widgets.review_list import ReviewList
from bai_wizard.ui.tui.widgets.steps import step_tags


class DiffScreen(Dialogue[None]):
    """Scrolls with the arrows, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,d,q,enter", "dismiss", "Close", id="diff.close"),
    ]
    HELP = "diff"
    NEEDS = ("#diff Static",)

    def __init__(self, title: str, steps: Sequence[PlannedStep], first: PlannedStep | None = None) -> None:
        super().__init__()
        self._title = title
        self._steps = steps
        self._first = first

    def compose(self) -> ComposeResult:
        yield Static(self._title, classes="title")
        with VerticalScroll(id="diff"):
            for index, planned in enumerate(self._steps):
                yield Static(diff_of(planned), id=f"step-{index}")
            if not self._steps:
                yield Static(tr("No changes."))
        yield Keys(((N_("arrows"), N_("Scroll")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.query_one("#diff").focus()
        if self._first is not None and self._first in self._steps:
            self.call_after_refresh(self._show_first)

    @while_mounted
    def _show_first(self) -> None:
        if self._first is not None:
            first = self.query_one(f"#step-{list(self._steps).index(self._first)}")
            first.scroll_visible(animate=False, top=True)


def diff_of(planned: PlannedStep) -> Content:
    """A step's heading and its diffs; added and removed lines are styled, but marked by their first character."""
    step = planned.step
    lines = [Content.styled(f"{step.id}: {tr(step.describe())}  {step_tags(step)}".rstrip(), "bold")]
    lines += [diff_line(line) for text in present.change_lines(planned) for line in redact(text).split("\n")]
    return Content("\n").join([*lines, Content("")])


def diff_line(line: str) -> Content:
    style = {"+": "$text-success", "-": "$text-error", "@": "dim"}.get(line[:1], "")
    return Content.styled("  " + line, style) if style else Content("  " + line)


class ReviewScreen(Dialogue[Plan | None]):
    """A dialog over its page, or a full screen for several pages.

    Apply is possible only if nothing is blocked and every interruption is allowed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "diff", "Diff", id="review.diff"),
        Binding("x", "exclude_blocked", "Exclude blocked steps", id="review.blocked"),
        Binding("g", "go_to_page", "Go to the page", id="review.page"),
        Binding("n", "problem(1)", "Next problem", id="review.problem"),
        Binding("N", "problem(-1)", "Previous problem", id="review.problem2", show=False),
    ]
    HELP = "review"
    NEEDS = ("#chosen", "#consequences", "#actions")

    def __init__(
        self, desired: compose.DesiredState, planner: Callable[[], Plan], missing: Mapping[str, str] | None = None
    ) -> None:
        """`missing`: pages that are not part of the plan, and why."""
        super().__init__()
        self.desired = desired
        self._planner = planner
        self._missing = dict(missing or {})
        self._full: Plan | None = None
        self._plan: Plan | None = None
        self._hit: Disruptions = {}
        # When the affected items were read: consent covers what was shown then.
        self._seen = NEVER
        self._error = ""
        # What the run will recover of interrupted runs, and the run counter from before planning.
        self._recovered: list[str] = []
        self._planned_at: PlannedAt = None
        self._history: dict[str, float] = {}
        self._leaves_out_blocked = False

    def compose(self) -> ComposeResult:
        is_dialogue = len(self.desired.pages) == 1
        self.set_class(is_dialogue, "-page")
        with Vertical(id="review", classes="dialogue" if is_dialogue else ""):
            yield Static(tr("Review and apply"), classes="title", id="review-title")
            yield ConsequenceBar()
            with VerticalScroll(id="review-body", can_focus=False):
                yield Static(tr("planning…"), id="review-text")
                yield ReviewList()
            yield Static(id="refusal")
            labels = {"apply": tr("Apply"), "diff": tr("Diff"), "exclude_blocked": "", "app.save": tr("Save answers")}
            yield Actions({**labels, "no": tr("Back")})
            yield Keys(
                (
                    ("Space", N_("Exclude")),
                    ("Enter", N_("Unfold")),
                    ("d", N_("Diff")),
                    ("g", N_("Go to the page")),
                    ("n", N_("Next problem")),
                    ("Esc", N_("Back")),
                )
            )

    def begin(self) -> None:
        self.plan_again()
        actions = self.query_one(Actions)
        actions.enable("apply", False)
        actions.choose("no")
        actions.focus()

    def plan_again(self) -> None:
        """Plan on the current node. Steps that were left out stay so."""
        session = wizard(self).session

        def plan() -> Plan:
            self._planned_at = session.planned_at()
            self._recovered = session.to_recover()
            self._history = history_of(session.paths)
            return self._planner()

        run_in_thread(self.app, plan, self._planned, self._failed)

    def _failed(self, error: Exception) -> None:
        self._error = reason_of(error)
        self._show()

    def _planned(self, plan: Plan) -> None:
        self._full = self._plan = plan
        shown = [item for item in self._full.steps if isinstance(item.verdict, Pending | Blocked)]
        chosen = self.query_one(ReviewList)
        left_out = {item.step.id for item in shown if item.step.id in chosen.left_out}
        chosen.left_out = left_out | {
            item.step.id for item in shown if isinstance(item.verdict, Blocked) and item.step.optional
        }
        chosen.missing = self._missing
        chosen.show(shown)
        if shown:
            # Immediately: an Enter meant for the button must not reach the list.
            self.set_focus(chosen)
            self.query_one(Actions).choose("apply")
        if left_out:
            self._turn()
        else:
            self.look_again()

    def look_again(self) -> None:
        """Reread what would be interrupted; a set other than the one shown needs its own consent."""
        machine, plan = wizard(self).session.machine, self._plan
        if plan is not None:
            run_in_thread(
                self.app, lambda: (moment(), compose.disruptions(machine, plan)), self._interrupts, self._failed
            )

    def _interrupts(self, result: tuple[Moment, Disruptions]) -> None:
        self._seen, self._hit = result
        self.query_one(ReviewList).interrupt(self._hit)
        self.call_later(self._show)

    @while_mounted
    def _show(self) -> None:
        plan, chosen, actions = self._plan, self.query_one(ReviewList), self.query_one(Actions)
        refusal = self._error
        title = tr("Review and apply")
        lines = [tr("Recovered first: {what}", what=redact(message)) for message in self._recovered]
        if plan is not None:
            title = tr("Review: {count} on {host}", count=self._pages(plan), host=plan.host)
            consequences = consequences_of(plan, self._hit, self._history)
            self.query_one(ConsequenceBar).show(consequences)
            notes = [tr("Note: {text}", text=tr(note)) for note in plan.notes]
            chosen.show(chosen.steps, [*consequences.notes(), *notes])
            refusal = refusal or self._refusal()
            lines += [self._nothing(plan)] if plan.is_empty() else []
        self.query_one("#review-title", Static).update(title)
        text = self.query_one("#review-text", Static)
        text.update("\n".join(lines))
        text.display = bool(lines)
        self.query_one("#refusal", Static).update(f"! {refusal}" if refusal else "")
        actions.relabel("exclude_blocked", tr("Exclude blocked steps") if chosen.blocked else "")
        actions.enable("apply", plan is not None and not refusal and not plan.is_empty())

    def _pages(self, plan: Plan) -> str:
        pages = dict.fromkeys(item.step.page for item in plan.pending())
        if len(pages) == 1:
            return tr(TITLES[next(iter(pages))])
        return ntr("{count} page", "{count} pages", len(pages))

    def _nothing(self, plan: Plan) -> str:
        """Why there is nothing to apply."""

        def has_steps(plan: Plan | None) -> bool:
            return plan is not None and any(isinstance(item.verdict, Pending | Blocked) for item in plan.steps)

        if has_steps(plan):
            return tr("None of the selected steps can be applied.")
        if has_steps(self._full):
            return tr("No steps are selected.")
        if not self.desired.pages:
            return tr("No pages are selected.")
        return tr("No changes needed.")

    def _refusal(self) -> str:
        """Why the plan cannot be applied as it is, and what to do about it."""
        blocked = [item for item in self.query_one(ReviewList).blocked if not item.step.optional]
        if blocked:
            count = ntr("{count} step is blocked", "{count} steps are blocked", len(blocked))
            return tr("{count}. Press x to exclude what is blocked, or g to go to its page.", count=count)
        if len(self.consent()) < len(self._hit):
            return tr("Cannot be applied yet: allow the disruption above, or exclude its steps.")
        return ""

    def consent(self) -> tuple[Consent, ...]:
        """Consent to the selected interruptions, for what was shown."""
        return agree(self._hit, self.query_one(ReviewList).consented, self._seen)

    @on(ListBox.Selected, "ReviewList")
    def _selected(self) -> None:
        row = self.query_one(ReviewList).at_cursor()
        if row.kind == "consent":
            self._show()
        else:
            self._turn()

    def _turn(self) -> None:
        chosen = self.query_one(ReviewList)
        full, left_out, session = self._full, frozenset(chosen.left_out), wizard(self).session
        assert full is not None

        def plan() -> Plan:
            return compose.with_notes(without_steps(full, left_out, session.foreseen()), self.desired)

        run_in_thread(self.app, plan, self._replanned, self._failed)

    def _replanned(self, plan: Plan) -> None:
        self._error = ""
        self._plan = plan
        again = {item.step.id: item for item in self._plan.steps}
        chosen = self.query_one(ReviewList)
        chosen.show([again.get(item.step.id, item) for item in chosen.steps])
        if self._leaves_out_blocked and chosen.blocked:
            # Without those steps, others may be blocked: exclude them as well.
            self.action_exclude_blocked()
            return
        self._leaves_out_blocked = False
        self.look_again()

    @on(DescendantFocus)
    def _decides(self, event: DescendantFocus) -> None:
        # Moving to the buttons scrolls to the notes, which are at the end.
        if isinstance(event.widget, Actions):
            self.query_one("#review-body").scroll_end(animate=False)

    def action_exclude_blocked(self) -> None:
        """Exclude every blocked step, and those that depend on them; the rest can then be applied."""
        chosen = self.query_one(ReviewList)
        if blocked := {item.step.id for item in chosen.blocked}:
            chosen.left_out |= blocked
            self._leaves_out_blocked = True
            self._turn()

    def action_problem(self, by: int) -> None:
        """Go to the next blocked step."""
        chosen = self.query_one(ReviewList)
        if chosen.go_to_blocked(by):
            chosen.focus()
        else:
            wizard(self).tell(tr("No problems."))

    def action_go_to_page(self) -> None:
        """Open the page of a blocked step, preferably the one under the cursor; else the page under the cursor."""
        chosen = self.query_one(ReviewList)
        row = chosen.at_cursor()
        is_missing = row.kind == "page" and not row.steps
        blocked = [item for item in row.steps if item in chosen.blocked] or list(chosen.blocked)
        steps = [] if is_missing else [*blocked, *row.steps]
        page = row.key if is_missing else steps[0].step.page if steps else ""
        if page:
            wizard(self).go_to_page(page)

    def action_apply(self) -> None:
        if self._plan is not None and self.query_one(Actions).is_enabled("apply"):
            consent, is_whole = self.consent(), not self._excluded()
            wizard(self).runs.apply(self._plan, self.desired, consent, self._planned_at, is_whole=is_whole)

    def _excluded(self) -> set[str]:
        """The steps that the user has excluded, without optional ones that are blocked anyway."""
        chosen = self.query_one(ReviewList)
        blocked = {item.step.id for item in chosen.steps if isinstance(item.verdict, Blocked) and item.step.optional}
        return chosen.left_out - blocked

    def action_diff(self) -> None:
        plan, row = self._plan or Plan(""), self.query_one(ReviewList).at_cursor()
        steps = tuple(item for item in plan.steps if isinstance(item.verdict, Pending | Blocked))
        wizard(self).show(DiffScreen(tr("All changes"), steps, row.steps[0] if row.steps else None))
