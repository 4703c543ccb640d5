"""Every change as a diff, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.core.plan import PlannedStep
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Blocked, Pending
from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import Dialogue
from bai_wizard.tui.widgets.changes import tag
from bai_wizard.tui.widgets.keys import Keys


class DiffScreen(Dialogue[None]):
    """Scrolls with the arrows, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,d,q,enter", "dismiss", "Close", id="diff.close"),
    ]
    HELP = "diff"
    NEEDS = ("#diff Static",)

    def __init__(self, title: str, steps: Sequence[PlannedStep], first: PlannedStep | None = None) -> None:
        super().__init__()
        self._title = title
        self._steps = steps
        self._first = first

    def compose(self) -> ComposeResult:
        yield Static(self._title, markup=False, classes="title")
        with VerticalScroll(id="diff"):
            for place, planned in enumerate(self._steps):
                yield Static(diff_of(planned), markup=False, id=f"step-{place}")
            if not self._steps:
                yield Static(tr("There is nothing to change here."), markup=False)
        yield Keys((("arrows", "Scroll"), ("Esc", "Back")))

    def begin(self) -> None:
        self.query_one("#diff").focus()
        if self._first is not None and self._first in self._steps:
            first = self.query_one(f"#step-{list(self._steps).index(self._first)}")
            self.call_after_refresh(first.scroll_visible, animate=False, top=True)


def diff_of(planned: PlannedStep) -> Content:
    """A step's heading and its diffs, added and removed lines styled but told by their first character."""
    step, verdict = planned.step, planned.verdict
    lines = [Content.styled(f"{step.id}: {step.describe()}  {tag(step)}".rstrip(), "bold")]
    if isinstance(verdict, Pending):
        for change in verdict.changes:
            lines += [_styled(line) for line in redact(change.diff()).rstrip("\n").split("\n")]
        if verdict.known_after:
            lines.append(Content("  " + tr("More is known after {step}.", step=verdict.known_after)))
    elif isinstance(verdict, Blocked):
        lines.append(Content("  " + tr("Must not be done: {reason}", reason=verdict.reason)))
    else:
        lines.append(Content(f"  {verdict.note}"))
    return Content("\n").join([*lines, Content("")])


def _styled(line: str) -> Content:
    style = {"+": "$text-success", "-": "$text-error", "@": "dim"}.get(line[:1], "")
    return Content.styled("  " + line, style) if style else Content("  " + line)
