"""A run, live or past: its steps, its log, and what to do next."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.logpanel import LogPanel
from bai_wizard.tui.widgets.steps import Steps, bar
from bai_wizard.wizard.picture import LogLine, Picture


class RunScreen(WizardScreen[None]):
    """Esc goes back to the pages; the run goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Pages", id="run.back"),
        Binding("x", "stop", "Stop after this step", id="run.stop"),
    ]
    HELP = "run"
    NEEDS = ("#steps",)

    def compose(self) -> ComposeResult:
        yield Static(markup=False, id="run-title", classes="title")
        yield Static(markup=False, id="run-bar")
        with VerticalScroll(id="run-steps", can_focus=False):
            yield Steps()
        yield LogPanel()
        yield Actions({"stop": tr("Stop after this step"), "back": tr("Back to the pages")})
        yield Keys(
            (
                ("Esc", "Pages"),
                ("x", "Stop after this step"),
                ("/", "Search"),
                ("p", "Page"),
                ("v", "Level"),
                ("f", "Follow"),
                ("c", "Copy"),
            )
        )

    def begin(self) -> None:
        wizard(self).watcher.moved.subscribe(self, self._moved)
        self._moved([])
        actions = self.query_one(Actions)
        actions.choose("back")
        actions.focus()

    def on_unmount(self) -> None:
        wizard(self).watcher.moved.unsubscribe(self)

    def _moved(self, _lines: list[LogLine]) -> None:
        watcher = wizard(self).watcher
        picture = watcher.picture
        if picture is None:
            return
        self.query_one("#run-title", Static).update(self._title(picture))
        self.query_one("#run-bar", Static).update(self._bar(picture))
        self.query_one(Steps).show(picture.steps.values())
        self.query_one(Actions).enable("stop", watcher.is_running)

    def _title(self, picture: Picture) -> str:
        what = tr("Taking back") if picture.kind == "undo" else tr("Run")
        return f"{what} {picture.run}"

    def _bar(self, picture: Picture) -> Content:
        total = max(1, len(picture.steps))
        width = max(10, min(40, self.app.size.width - 40))
        told = tr("{done} of {all} steps", done=picture.finished, all=len(picture.steps))
        failed = picture.count("failed")
        tail = tr(", {count} failed", count=failed) if failed else ""
        # What the step itself says of its progress, an image's layers for instance, below the bar of all steps.
        current = picture.current
        said = current.text.partition("\n")[0] if current is not None else ""
        return Content(f"{bar(picture.finished, total, width)}  {told}{tail}\n{said}")

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_back(self) -> None:
        """Back to the pages."""
        self.dismiss()

    def action_stop(self) -> None:
        """Asks the run to stop after the step that it is at."""
        wizard(self).runs.stop()
