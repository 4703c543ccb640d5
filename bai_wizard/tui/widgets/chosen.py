"""The steps of a plan with ticks, page by page; unticked ones are left out of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.content import Content

from bai_wizard.core.plan import PlannedStep
from bai_wizard.core.step import Blocked
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.changes import tag
from bai_wizard.tui.widgets.walk import Walk, wrapped
from bai_wizard.wizard.review import is_slow


class Row(NamedTuple):
    """One line: a page's heading (no step), a step, or the reason why a step must not be done."""

    page: str
    step: PlannedStep | None
    reason: str = ""


class Chosen(Walk):
    """Space turns a step over, or, on a heading, all steps of the page."""

    def __init__(self, title: Callable[[str], str]) -> None:
        super().__init__(id="chosen")
        self._title = title
        self.steps: list[PlannedStep] = []
        self.left_out: set[str] = set()
        self._rows: list[Row] = []

    def show(self, steps: Sequence[PlannedStep]) -> None:
        """Draws these steps, the pages in the order in which they come."""
        self.steps = list(steps)
        self._rows = []
        width = max(30, self.size.width - 10)
        for planned in self.steps:
            if not self._rows or self._rows[-1].page != planned.step.page:
                self._rows.append(Row(planned.step.page, None))
            self._rows.append(Row(planned.step.page, planned))
            if isinstance(planned.verdict, Blocked) and planned.step.id not in self.left_out:
                lines = wrapped(planned.verdict.reason, width)
                self._rows += [Row(planned.step.page, planned, line) for line in lines]
        self.changed()

    def lines(self) -> list[Content]:
        return [self._line(row) for row in self._rows]

    def _line(self, row: Row) -> Content:
        if row.step is None:
            steps = self._of_page(row.page)
            kept = [planned for planned in steps if planned.step.id not in self.left_out]
            glyph = "X" if len(kept) == len(steps) else "-" if kept else " "
            count = tr("{count} of {all} steps", count=len(kept), all=len(steps))
            return Content.assemble((f"[{glyph}] {self._title(row.page)}", "bold"), f"  {count}")
        if row.reason:
            return Content.styled(f"        ! {row.reason}", "$text-error")
        step = row.step.step
        out = step.id in self.left_out
        text = f"    [{' ' if out else 'X'}] {step.describe()}"
        if out:
            return Content.styled(text, "dim")
        words = [tag(step), tr("(takes minutes)") if is_slow(row.step) else ""]
        tail = " ".join(word for word in words if word)
        return Content.assemble(text, "  ", (tail, "$text-warning")) if tail else Content(text)

    def _of_page(self, page: str) -> list[PlannedStep]:
        return [planned for planned in self.steps if planned.step.page == page]

    def taken(self, at: int) -> None:
        row = self._rows[at]
        ids = {planned.step.id for planned in ([row.step] if row.step else self._of_page(row.page))}
        self.left_out = self.left_out - ids if ids <= self.left_out else self.left_out | ids
        self.refresh()
        super().taken(at)

    def step_at_cursor(self) -> PlannedStep | None:
        """The step under the cursor, or the first of the page whose heading it is."""
        if self.at >= len(self._rows):
            return None
        row = self._rows[self.at]
        return row.step or self._of_page(row.page)[0]
