"""A run, live or past: its steps, its log, and what to do next."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Button, Footer, Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.logpanel import LogPanel
from bai_wizard.tui.widgets.steps import Steps, bar
from bai_wizard.wizard.picture import LogLine, Picture


class RunScreen(Screen[None]):
    """Esc goes back to the pages; the run goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Pages", id="run.back"),
        Binding("x", "stop", "Stop after this step", id="run.stop"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    HELP = "run"

    def compose(self) -> ComposeResult:
        yield Static(markup=False, id="run-title", classes="title")
        yield Static(markup=False, id="run-bar")
        with VerticalScroll(id="run-steps", can_focus=False):
            yield Steps()
        yield LogPanel()
        with Horizontal(id="actions"):
            yield Button(tr("Stop after this step"), id="stop", compact=True)
            yield Button(tr("Back to the pages"), id="back", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        wizard(self).watcher.moved.subscribe(self, self._moved)
        self._moved([])
        self.query_one(Steps).focus()

    def _moved(self, _lines: list[LogLine]) -> None:
        watcher = wizard(self).watcher
        picture = watcher.picture
        if picture is None:
            return
        self.query_one("#run-title", Static).update(self._title(picture))
        self.query_one("#run-bar", Static).update(self._bar(picture))
        self.query_one(Steps).show(picture.steps.values())
        self.query_one("#stop", Button).display = watcher.is_running

    def _title(self, picture: Picture) -> str:
        what = tr("Taking back") if picture.kind == "undo" else tr("Run")
        return f"{what} {picture.run}"

    def _bar(self, picture: Picture) -> Content:
        total = max(1, len(picture.steps))
        width = max(10, min(40, self.app.size.width - 40))
        told = tr("{done} of {all} steps", done=picture.finished, all=len(picture.steps))
        failed = picture.count("failed")
        tail = tr(", {count} failed", count=failed) if failed else ""
        return Content(f"{bar(picture.finished, total, width)}  {told}{tail}")

    @on(Button.Pressed, "#back")
    def action_back(self) -> None:
        """Back to the pages."""
        self.dismiss()

    @on(Button.Pressed, "#stop")
    def action_stop(self) -> None:
        """Asks the run to stop after the step that it is at."""
        wizard(self).runs.stop()
