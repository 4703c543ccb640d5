"""The plan as a whole, before somebody says yes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Static

from bai_wizard import compose
from bai_wizard.core.plan import Plan
from bai_wizard.core.step import Blocked, Pending
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.choice import Tick
from bai_wizard.tui.widgets.chosen import Chosen
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.review import Summary, summary, without
from bai_wizard.wizard.survey import reason_of

# What an interrupt means, in words.
INTERRUPTS = {
    "docker.restart": "Docker is restarted, which stops",
    "gpu.reload": "the GPU driver is loaded anew, which takes the GPU from",
    "umount": "a file system is unmounted, which takes it from",
}


class ReviewScreen(WizardScreen[Plan | None]):
    """Apply is possible only when nothing is blocked and every interruption is allowed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "no", "Back", id="review.back"),
        Binding("d", "diff", "Diff", id="review.diff"),
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
    ]
    HELP = "review"
    NEEDS = (
        "#chosen",
        "#consents",
        "#review-sums",
    )

    def __init__(self, wish: compose.Wish, planner: Callable[[], Plan], missing: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.wish = wish
        self._planner = planner
        self._missing = missing
        self._full: Plan | None = None
        self._plan: Plan | None = None
        self._hit: dict[str, tuple[str, ...]] = {}
        self._error = ""

    def compose(self) -> ComposeResult:
        yield Static(tr("Review and apply"), markup=False, classes="title")
        with VerticalScroll(id="review-body", can_focus=False):
            yield Static(tr("planning…"), markup=False, id="review-text")
            yield Chosen(self._title_of)
            yield Vertical(id="consents")
            yield Static(markup=False, id="review-sums")
        yield Static(markup=False, id="refusal")
        labels = {"apply": "Apply", "diff": "Diff", "save": "Save answers", "no": "Back"}
        yield Actions({key: tr(label) for key, label in labels.items()})
        yield Keys((("Space", "Leave out"), ("d", "Diff"), ("Esc", "Back")))

    def _title_of(self, page: str) -> str:
        return tr(wizard(self).surveyor.survey.page(page).title)

    def begin(self) -> None:
        behind(self.app, self._planner, self._planned)
        actions = self.query_one(Actions)
        actions.enable("apply", False)
        actions.choose("no")
        actions.focus()

    def _planned(self, outcome: Outcome[Plan]) -> None:
        if not self.is_mounted:
            return
        if outcome.error is not None:
            self._error = reason_of(outcome.error)
            self._show()
            return
        self._full = self._plan = outcome.get()
        shown = [item for item in self._full.steps if isinstance(item.verdict, Pending | Blocked)]
        chosen = self.query_one(Chosen)
        chosen.left_out = {item.step.id for item in shown if isinstance(item.verdict, Blocked) and item.step.optional}
        chosen.show(shown)
        if shown:
            # At once: an Enter that was typed for the button must not find the list.
            self.set_focus(chosen)
            self.query_one(Actions).choose("apply")
        self._look_for_interrupts()

    def _look_for_interrupts(self) -> None:
        machine, plan = wizard(self).desk.machine, self._plan
        if plan is not None:
            behind(self.app, lambda: compose.unconsented(machine, plan, ()), self._interrupts)

    async def _ask_consent(self) -> None:
        body = self.query_one("#consents", Vertical)
        await body.remove_children()
        for what, hit in self._hit.items():
            told = f"{tr(INTERRUPTS.get(what, what))} {', '.join(hit[:6])}"
            await body.mount(Tick(tr("allow: {what}", what=told), False, id="allow-" + what.replace(".", "-")))

    def _interrupts(self, outcome: Outcome[dict[str, tuple[str, ...]]]) -> None:
        if not self.is_mounted:
            return
        if outcome.error is not None:
            self._error = reason_of(outcome.error)
        else:
            hit = outcome.get()
            if hit != self._hit:
                self._hit = hit
                self.call_later(self._ask_consent)
        self.call_later(self._show)

    def _show(self) -> None:
        plan = self._plan
        text, refusal = "", self._error
        if plan is not None:
            pending = len(plan.pending())
            text = tr("Steps on {host}, page by page: {count}", count=pending, host=plan.host)
            text = text if pending else tr("There is nothing to do: all of this is in effect.")
            refusal = refusal or self._refusal(plan)
            self.query_one("#review-sums", Static).update(sums(summary(plan)))
        if self._missing:
            text += "\n" + tr(
                "Not part of it, because their forms are not complete: {pages}", pages=", ".join(self._missing)
            )
        self.query_one("#review-text", Static).update(text)
        self.query_one("#refusal", Static).update(f"! {refusal}" if refusal else "")
        self.query_one(Actions).enable("apply", plan is not None and not refusal and not plan.is_empty())

    def _refusal(self, plan: Plan) -> str:
        blocked = plan.blocked()
        if blocked:
            verdict = blocked[0].verdict
            reason = verdict.reason if isinstance(verdict, Blocked) else ""
            return tr("Cannot be applied: {step}: {reason}", step=blocked[0].step.id, reason=reason)
        asked = [what for what in self._hit if what not in self.consent()]
        if asked:
            return tr("Cannot be applied yet: allow the interruption above, or untick its steps.")
        return ""

    def consent(self) -> tuple[str, ...]:
        """What may be interrupted."""
        return tuple(
            what
            for what in self._hit
            if any(tick.value for tick in self.query(f"#allow-{what.replace('.', '-')}").results(Tick))
        )

    @on(Walk.Taken, "Chosen")
    def _turn(self) -> None:
        chosen = self.query_one(Chosen)
        full, left_out, machine = self._full, frozenset(chosen.left_out), wizard(self).desk.machine
        assert full is not None
        behind(self.app, lambda: without(full, left_out, machine), self._replanned)

    def _replanned(self, outcome: Outcome[Plan]) -> None:
        if not self.is_mounted:
            return
        if outcome.error is not None:
            self._error = reason_of(outcome.error)
            self._show()
            return
        self._error = ""
        self._plan = outcome.get()
        anew = {item.step.id: item for item in self._plan.steps}
        chosen = self.query_one(Chosen)
        chosen.show([anew.get(item.step.id, item) for item in chosen.steps])
        self._look_for_interrupts()

    @on(DescendantFocus)
    def _decides(self, event: DescendantFocus) -> None:
        # Who comes to the decision sees what follows from it, which stands at the end.
        if isinstance(event.widget, Actions):
            self.query_one("#review-body").scroll_end(animate=False)

    @on(Tick.Turned)
    def _consented(self) -> None:
        self._show()

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_apply(self) -> None:
        """Applies what is ticked."""
        if self._plan is not None and self.query_one(Actions).is_enabled("apply"):
            wizard(self).runs.apply(self._plan, self.wish, self.consent())

    def action_diff(self) -> None:
        """Every change as a diff."""
        from bai_wizard.tui.screens.diff import DiffScreen

        plan = self._plan or Plan("")
        steps = tuple(item for item in plan.steps if isinstance(item.verdict, Pending | Blocked))
        wizard(self).show(DiffScreen(tr("Everything that changes"), steps, self.query_one(Chosen).step_at_cursor()))

    async def action_save(self) -> None:
        """Saves the answers."""
        await self.app.run_action("save")

    def action_no(self) -> None:
        """Back to the pages; nothing is lost."""
        self.dismiss(None)


def sums(told: Summary) -> Content:
    """The consequences in a line each."""
    lines = []
    if told.slow:
        lines.append(tr("May take minutes: {steps}", steps=", ".join(told.slow)))
    if told.next_login:
        lines.append(tr("In effect at the next login: {steps}", steps=", ".join(told.next_login)))
    if told.reboot:
        lines.append(tr("In effect after a reboot: {steps}", steps=", ".join(told.reboot)))
    lines += [tr("Not taken back by undo: {what}", what=what) for what in told.lasting]
    return Content("\n".join(lines))
