"""What a page will change: a line for each change, a step that has nothing to do in words."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from bai_wizard.core.plan import PlannedStep
from bai_wizard.core.step import Blocked, Pending, Step
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.walk import Walk


class Changes(Walk):
    """Every change of the steps given, in their order. Taking a line opens the step's diff."""

    def __init__(self) -> None:
        super().__init__(id="changes")
        self._lines: list[Content] = [Content(tr("looking…"))]
        self._owners: list[PlannedStep | None] = [None]

    def show(self, steps: Sequence[PlannedStep], empty: str) -> None:
        """Draws the changes of these steps; `empty` is said where there are none."""
        lines: list[Content] = []
        owners: list[PlannedStep | None] = []
        for planned in steps:
            for line in lines_of(planned):
                lines.append(line)
                owners.append(planned)
        self._lines = lines or [Content(empty)]
        self._owners = owners or [None]
        self.changed()

    def lines(self) -> list[Content]:
        return self._lines

    def step_at_cursor(self) -> PlannedStep | None:
        """The step whose change is under the cursor."""
        return self._owners[self.at] if self.at < len(self._owners) else None


def lines_of(planned: PlannedStep) -> list[Content]:
    """A step's changes, a line each; nothing to do is said with its reason."""
    step, verdict = planned.step, planned.verdict
    if isinstance(verdict, Blocked):
        return [Content.styled(f"! {step.describe()}", "$text-error"), Content(f"    {verdict.reason}")]
    if not isinstance(verdict, Pending):
        return [Content.styled(f"= {verdict.note}", "dim")]
    tail = tag(step)
    lines = [Content(f"{change.headline()}") for change in verdict.changes]
    if verdict.known_after:
        lines.append(
            Content(tr("? {what} (more is known after {step})", what=step.describe(), step=verdict.known_after))
        )
    if tail and lines:
        lines[0] = Content.assemble(lines[0], "  ", (tail, "$text-warning"))
    return lines


def tag(step: Step) -> str:
    """What is special about a step, in a few words."""
    words = []
    if step.optional:
        words.append(tr("optional"))
    if step.effect == "next-login":
        words.append(tr("at the next login"))
    elif step.effect == "reboot":
        words.append(tr("after a reboot"))
    words += [tr("interrupts: {what}", what=interrupt) for interrupt in step.interrupts]
    return f"[{', '.join(words)}]" if words else ""
