"""The steps of a run with their stage in words and their progress."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.picture import Stage, StepPicture

STYLES: dict[Stage, str] = {
    "waits": "dim",
    "running": "bold $text-accent",
    "changed": "$text-success",
    "unchanged": "",
    "failed": "bold $text-error",
    "skipped": "dim",
}
# The words are looked up by `tr` when they are drawn.
WORDS: dict[Stage, str] = {
    "waits": "waits",
    "running": "running",
    "changed": "done",
    "unchanged": "unchanged",
    "failed": "FAILED",
    "skipped": "skipped",
}
BAR = 10


class Steps(Walk):
    """A line for each step: its stage, what it brings about, its bar."""

    def __init__(self) -> None:
        super().__init__(id="steps")
        self._steps: list[StepPicture] = []

    def show(self, steps: Iterable[StepPicture]) -> None:
        """Draws the steps; the cursor follows the one that runs while nobody holds it."""
        self._steps = list(steps)
        running = next((place for place, step in enumerate(self._steps) if step.stage == "running"), None)
        self.changed()
        if running is not None and not self.has_focus:
            self.at = running
            self.show_cursor()

    def lines(self) -> list[Content]:
        width = self.size.width or 60
        return [_line(step, width) for step in self._steps]

    def step_at_cursor(self) -> StepPicture | None:
        """The step under the cursor."""
        return self._steps[self.at] if self.at < len(self._steps) else None


def _line(step: StepPicture, width: int) -> Content:
    word = set_cell_size(tr(WORDS[step.stage]), 10)
    tail = ""
    if step.stage == "running" and step.total:
        tail = f" {bar(step.done, step.total, BAR)} {min(100, step.done * 100 // step.total):>3}%"
    elif step.stage in ("failed", "skipped") and step.text:
        return Content.assemble((word, STYLES[step.stage]), f"{step.describe}: {step.text}".replace("\n", " "))
    room = max(10, width - 10 - cell_len(tail))
    return Content.assemble((word, STYLES[step.stage]), set_cell_size(step.describe, room), tail)


def bar(done: int, total: int, width: int) -> str:
    """`▮▮▮▯▯`: told by its characters, not by its colours."""
    full = min(width, done * width // total) if total else 0
    return "▮" * full + "▯" * (width - full)
