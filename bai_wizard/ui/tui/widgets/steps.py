"""Lists of steps: planned changes, steps to choose from, and steps of a run with their progress."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from bai_wizard.core.display import visible
from bai_wizard.core.step import Blocked, PlannedStep, Step
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.ui import present
from bai_wizard.ui.durations import duration, size_text
from bai_wizard.ui.progress import Stage, StepProgress, seconds_of
from bai_wizard.ui.tui.widgets.list_box import ListBox

STYLES: dict[Stage, str] = {
    "waits": "dim",
    "running": "bold $text-accent",
    "changed": "$text-success",
    "unchanged": "",
    "failed": "bold $text-error",
    "skipped": "dim",
}
# The words are translated by `tr` when they are drawn.
WORDS: dict[Stage, str] = {
    "waits": N_("pending"),
    "running": N_("running"),
    "changed": N_("done"),
    "unchanged": N_("unchanged"),
    "failed": N_("FAILED"),
    "skipped": N_("skipped"),
}
BAR = 10


class Steps(ListBox):
    """One line per step: its stage, its description, its progress bar."""

    def __init__(self) -> None:
        super().__init__(id="steps")
        self._steps: list[StepProgress] = []

    def show(self, steps: Iterable[StepProgress]) -> None:
        """Show the steps; the cursor follows the running one unless the list has the focus."""
        self._steps = list(steps)
        running = next((index for index, step in enumerate(self._steps) if step.stage == "running"), None)
        self.changed()
        if running is not None and not self.has_focus:
            self.cursor = running
            self.show_cursor()

    def at_cursor(self) -> StepProgress | None:
        """The step under the cursor."""
        return self._steps[self.cursor] if self.cursor < len(self._steps) else None

    def lines(self) -> list[Content]:
        width = self.size.width or 60
        return [_line(step, width) for step in self._steps]


def _line(step: StepProgress, width: int) -> Content:
    word = set_cell_size(tr(WORDS[step.stage]), 10)
    tail = ""
    if step.stage == "running" and step.total:
        tail = f" {progress_bar(step.done, step.total, BAR)} {min(100, step.done * 100 // step.total):>3}%"
        tail += f"  {size_text(step.done)}/{size_text(step.total)}" if step.counts_bytes else ""
    elif step.ended and step.began and step.stage == "changed":
        tail = f"  {duration(step.spent(seconds_of(step.ended)))}"
    elif step.stage in ("failed", "skipped") and step.text:
        text = f"{tr(step.describe)}: {tr(step.text)}".replace("\n", " ")
        return Content.assemble((word, STYLES[step.stage]), visible(text))
    room = max(10, width - 10 - cell_len(tail))
    return Content.assemble(
        (word, STYLES[step.stage]), set_cell_size(visible(tr(step.describe), lines=False), room), tail
    )


def steps_of(count: int, total: int) -> str:
    """`3 of 12 steps`."""
    return ntr("{count} of {all} step", "{count} of {all} steps", total, count=count, all=total)


def progress_bar(done: int, total: int, width: int) -> str:
    """`▮▮▮▯▯`: readable by its characters, without colors."""
    full = min(width, done * width // total) if total else 0
    return "▮" * full + "▯" * (width - full)


def reason_of_blocked(planned: PlannedStep) -> str:
    """Why a planned step must not be applied; empty if it is not blocked."""
    return present.reason_in_words(planned.verdict) if isinstance(planned.verdict, Blocked) else ""


def step_tags(step: Step) -> str:
    """A step's special properties, in brackets."""
    words = present.tags(step)
    return f"[{', '.join(words)}]" if words else ""
