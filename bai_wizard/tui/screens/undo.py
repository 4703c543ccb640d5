"""Taking a run back: what that would change, what it would leave alone, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.core.secret import redact
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.undo import UndoPlan, plan_undo
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.screens.review import INTERRUPTS
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.wizard.survey import reason_of


class UndoScreen(WizardScreen[bool]):
    """Returns true when the run is to be taken back, and `hits`, which is told first, may be interrupted."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Back", id="undo.back")]
    HELP = "undo"
    NEEDS = ("#undo-text",)

    def __init__(self, run: RunDirectory) -> None:
        super().__init__()
        self.run = run
        self.hits: Mapping[str, tuple[str, ...]] = {}

    def compose(self) -> ComposeResult:
        yield Static(tr("Take back run {run}", run=self.run.id), markup=False, classes="title")
        with VerticalScroll(id="undo-body"):
            yield Static(tr("planning…"), markup=False, id="undo-text")
        yield Actions({"undo": tr("Take it back"), "no": tr("Back")})
        yield Keys((("Enter", "Do it"), ("Esc", "Back")))

    def begin(self) -> None:
        desk, run = wizard(self).desk, self.run

        def plan() -> UndoPlan:
            desk.settle(run)
            return plan_undo(run, desk.machine)

        behind(self.app, plan, self._planned)
        actions = self.query_one(Actions)
        actions.enable("undo", False)
        actions.choose("no")
        actions.focus()

    def _planned(self, outcome: Outcome[UndoPlan]) -> None:
        if not self.is_mounted:
            return
        text = self.query_one("#undo-text", Static)
        if outcome.error is not None:
            text.update(reason_of(outcome.error))
            return
        wanted = outcome.get()
        self.hits = wanted.hits
        text.update(lines_of(wanted))
        self.query_one(Actions).enable("undo", bool(wanted.changes))

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_undo(self) -> None:
        """Takes it back."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Leaves everything as it is."""
        self.dismiss(False)


def lines_of(wanted: UndoPlan) -> Content:
    """The undo's plan in lines."""
    lines = [
        Content.styled(f"! {tr(INTERRUPTS.get(what, what))} {', '.join(hit)}", "bold $text-warning")
        for what, hit in wanted.hits.items()
    ]
    lines += [Content(tr("{count} changes would be taken back, newest first:", count=len(wanted.changes)))]
    step = ""
    for name, change in wanted.changes:
        if name != step:
            step = name
            lines += [Content(""), Content.styled(name, "bold")]
        lines += [_styled("  " + line) for line in redact(change.diff()).rstrip("\n").split("\n")]
    for conflict in wanted.conflicts:
        lines += [Content(""), Content.styled(tr("Left alone, because it was changed since:"), "bold $text-warning")]
        lines += [Content("  " + line) for line in redact(conflict).splitlines()]
    lines += [Content(tr("Not taken back by undo: {what}", what=what)) for what in wanted.lasting]
    return Content("\n").join(lines)


def _styled(line: str) -> Content:
    style = {"+": "$text-success", "-": "$text-error", "@": "dim"}.get(line.strip()[:1], "")
    return Content.styled(line, style) if style else Content(line)
