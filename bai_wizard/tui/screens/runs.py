"""The runs of this node, newest first: look at one, continue it, take it back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.ask import Question
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.desk import Desk
from bai_wizard.wizard.survey import reason_of


class RunList(Walk):
    """A run in each line."""

    def __init__(self) -> None:
        super().__init__(id="run-list")
        self.texts: list[Content] = [Content(tr("looking…"))]
        self.runs: list[RunDirectory] = []

    def lines(self) -> list[Content]:
        return self.texts


class RunsScreen(WizardScreen[None]):
    """Enter on a run asks what to do with it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="runs.back")]
    HELP = "runs"
    NEEDS = ("#run-list",)

    def compose(self) -> ComposeResult:
        yield Static(tr("Past runs"), markup=False, classes="title")
        yield RunList()
        yield Keys((("Enter", "What to do"), ("Esc", "Back")))

    def begin(self) -> None:
        desk = wizard(self).desk
        behind(self.app, lambda: [(run, line_of(desk, run)) for run in reversed(all_runs(desk.places))], self._found)
        self.query_one(RunList).focus()

    def _found(self, outcome: Outcome[list[tuple[RunDirectory, str]]]) -> None:
        if not self.is_mounted:
            return
        shown = self.query_one(RunList)
        if isinstance(outcome.error, PermissionError):
            shown.texts = [Content(tr("The runs are root's to read; start again with sudo."))]
        elif outcome.error is not None:
            shown.texts = [Content(reason_of(outcome.error))]
        else:
            found = outcome.get()
            shown.runs = [run for run, _ in found]
            shown.texts = [Content(text) for _, text in found] or [Content(tr("There is no run on this node yet."))]
        shown.changed()

    def on_walk_taken(self, event: Walk.Taken) -> None:
        runs = self.query_one(RunList).runs
        if event.at >= len(runs):
            return
        run = runs[event.at]
        answers = {"open": tr("Open it with its log")}
        if run.result() is None and not wizard(self).desk.is_alive(run):
            answers["resume"] = tr("Continue it")
        elif (run.result() or {}).get("code") not in (0, 6, None) and run.kind == "apply":
            answers["resume"] = tr("Try again from where it stopped")
        if run.kind == "apply":
            answers["undo"] = tr("Take it back")
        wizard(self).show(Question(run.id, line_of(wizard(self).desk, run), answers), lambda key: self._do(run, key))

    def _do(self, run: RunDirectory, key: str | None) -> None:
        runs = wizard(self).runs
        if key == "open":
            runs.open(run)
        elif key == "resume":
            runs.resume(run)
        elif key == "undo":
            runs.undo(run)


def line_of(desk: Desk, run: RunDirectory) -> str:
    """When, what, how it ended."""
    result = run.result()
    words = {
        0: tr("done"),
        4: tr("failed"),
        5: tr("waits for a reboot"),
        6: tr("optional steps failed"),
        130: tr("stopped"),
    }
    if result is not None:
        code = int(result["code"])
        state = words.get(code, tr("ended with {code}", code=code))
        counts = result.get("counts", {})
        state += "  " + tr("{count} changed", count=counts.get("changed", 0))
    else:
        state = tr("running") if desk.is_alive(run) else tr("interrupted")
    what = tr("take back {run}", run=run.about["undoes"]) if run.kind == "undo" else tr("apply")
    return f"{run.id}  {what}  {state}"
