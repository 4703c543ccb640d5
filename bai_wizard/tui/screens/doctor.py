"""Guided troubleshooting: every check, what it found, and the remedy, which is shown before anything happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from bai_wizard.core.finding import Finding
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.findings import Findings, details
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.survey import reason_of


class DoctorScreen(WizardScreen[None]):
    """Root causes and problems first. What is well is folded away until somebody asks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", id="doctor.back"),
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
    ]
    HELP = "doctor"
    NEEDS = ("#findings",)

    def __init__(self, error: str = "") -> None:
        super().__init__()
        self._error = error
        self._found: list[Finding] = []
        self._all = False

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), markup=False, classes="title")
        yield Static(tr("Every check looks, none changes anything."), markup=False, id="doctor-text")
        with VerticalScroll(id="doctor-body", can_focus=False):
            yield Findings()
        labels = {"open": "Open", "fold": "Show all", "search": "Search an error text", "again": "Look again"}
        yield Actions({key: tr(label) for key, label in {**labels, "dismiss": "Back"}.items()})
        yield Keys((("Enter", "Open"), ("Esc", "Back")))

    def begin(self) -> None:
        self.query_one(Findings).focus()
        if self._error:
            self._search_for(self._error)
        else:
            self.action_again()

    def action_again(self) -> None:
        """Examines the node anew."""
        self._found = []
        self.query_one(Findings).show((), tr("looking…"))
        behind(self.app, wizard(self).examine, self._examined)

    def _examined(self, outcome: Outcome[list[Finding]]) -> None:
        if not self.is_mounted:
            return
        if outcome.error is not None:
            self.query_one(Findings).show((), reason_of(outcome.error))
            return
        self._found = outcome.get()
        self._show()

    def _show(self) -> None:
        shown = [item for item in self._found if self._all or item.result not in ("ok", "not-applicable")]
        counted = Counter(finding.result for finding in self._found if not finding.ignored)
        told = tr(
            "{problems} problems, {warnings} warnings, {unknown} without an answer, {well} well",
            problems=counted["problem"] + counted["crashed"],
            warnings=counted["warning"],
            unknown=counted["cannot-tell"],
            well=counted["ok"],
        )
        self.query_one("#doctor-text", Static).update(told)
        self.query_one(Findings).show(shown, tr("Nothing is wrong, as far as the checks can see."))
        self.query_one(Actions).relabel("fold", tr("Only what is wrong") if self._all else tr("Show all"))

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    @on(Walk.Taken, "Findings")
    def action_open(self) -> None:
        """Shows everything about the finding under the cursor."""
        finding = self.query_one(Findings).at_cursor()
        if finding is not None:
            wizard(self).show(FindingScreen(finding))

    def action_fold(self) -> None:
        """Shows what is well, too, or hides it again."""
        self._all = not self._all
        self._show()

    def action_search(self) -> None:
        """Asks for what programs printed, a line or a whole log, and says which failure it most likely is."""
        from bai_wizard.tui.screens.paste import PasteScreen

        told = tr("Paste or type what was printed, a line or a whole log; then Tab and Enter.")
        question = PasteScreen(tr("Search an error text"), told, tr("Search"))
        wizard(self).show(question, lambda text: self._search_for(text) if text and text.strip() else None)

    def _search_for(self, text: str) -> None:
        from bai_wizard.tui.screens.search import SearchScreen

        wizard(self).show(SearchScreen(text))


class FindingScreen(WizardScreen[None]):
    """Evidence, cause, what to do. A remedy goes to the review like everything else."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="finding.back")]
    HELP = "doctor"

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), markup=False, classes="title")
        with VerticalScroll(id="finding-body"):
            yield Static(markup=False, id="finding-text")
        remedy = tr("See the remedy") if self.finding.remedy else ""
        yield Actions({"remedy": remedy, "dismiss": tr("Back")})
        yield Keys((("Enter", "Do it"), ("Esc", "Back")))

    def begin(self) -> None:
        self.query_one(Actions).focus()
        self.on_resize()

    def on_resize(self) -> None:
        """What is said is wrapped for the width that there is."""
        for text in self.query("#finding-text").results(Static):
            text.update(details(self.finding, self.app.size.width - 4))

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_remedy(self) -> None:
        """Plans the remedy and shows it for review."""
        from bai_wizard.doctor.remedy import plan_steps
        from bai_wizard.tui.screens.review import ReviewScreen

        app, steps = wizard(self), self.finding.remedy
        machine, host = app.desk.machine, app.surveyor.draft.host
        wish = replace(app.surveyor.draft.wish(), fix=self.finding.id)
        app.show(ReviewScreen(wish, lambda: plan_steps(steps, machine, host)))
