"""A further attempt of a run: what is left to do, and what differs from what was confirmed."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.screens.diff import diff_of
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.wizard.review import without
from bai_wizard.wizard.survey import reason_of


class AgainScreen(WizardScreen[Plan | None]):
    """Returns the plan that is to be carried out, None to leave it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Back", id="again.back")]
    HELP = "again"
    NEEDS = ("#again-text",)

    def __init__(self, run: RunDirectory, left_out: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.run = run
        self._left_out = left_out
        self._plan: Plan | None = None

    def compose(self) -> ComposeResult:
        yield Static(tr("Continue run {run}", run=self.run.id), markup=False, classes="title")
        with VerticalScroll(id="again-body"):
            yield Static(tr("planning…"), markup=False, id="again-text")
        yield Static(markup=False, id="refusal")
        yield Actions({"go": tr("Go on"), "no": tr("Back")})
        yield Keys((("Enter", "Do it"), ("Esc", "Back")))

    def begin(self) -> None:
        desk, survey, run = wizard(self).desk, wizard(self).surveyor.survey, self.run
        left_out = self._left_out

        def plan() -> Plan:
            desk.settle(run)
            return without(survey.plan_again(run), left_out, desk.machine)

        behind(self.app, plan, self._planned)
        actions = self.query_one(Actions)
        actions.enable("go", False)
        actions.choose("no")
        actions.focus()

    def _planned(self, outcome: Outcome[Plan]) -> None:
        if not self.is_mounted:
            return
        text = self.query_one("#again-text", Static)
        if outcome.error is not None:
            text.update(reason_of(outcome.error))
            return
        plan = self._plan = outcome.get()
        lines = [Content(line) for line in differences(self.run.plan(), plan)]
        lines += [diff_of(item) for item in plan.pending()]
        if self.run.kind == "undo":
            lines = [
                Content(tr("What is left of taking the run back is done; the node is looked at change by change."))
            ]
        text.update(Content("\n").join(lines or [Content(tr("There is nothing left to do."))]))
        blocked = plan.blocked()
        if blocked:
            self.query_one("#refusal", Static).update(
                f"! {blocked[0].step.id}: {getattr(blocked[0].verdict, 'reason', '')}"
            )
        self.query_one(Actions).enable("go", not blocked)

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_go(self) -> None:
        """Goes on."""
        self.dismiss(self._plan)

    def action_no(self) -> None:
        """Leaves it."""
        self.dismiss(None)


def differences(old: Plan, new: Plan) -> list[str]:
    """What is to be done now that was not confirmed, and what was and is no longer planned."""
    before = {item.step.id: item for item in old.steps}
    told = [
        tr("New since it was confirmed: {step}", step=f"{item.step.id}: {item.step.describe()}")
        for item in new.pending()
        if item.step.id not in before or not before[item.step.id].is_pending
    ]
    now = {item.step.id for item in new.steps}
    return told + [tr("No longer planned: {step}", step=name) for name in before if name not in now]
