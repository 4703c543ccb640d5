"""What every field of a form is: a label, what stands beside it, and below it the reason when that is wrong."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.events import Focus
from textual.geometry import Offset, Size
from textual.message import Message

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Changed, Place
from bai_wizard.tui.widgets.walk import Walk, cut, wrapped
from bai_wizard.wizard.shapes import Shape

# Cells of the label's column, and of a narrow screen's.
LABEL = 24
NARROW_LABEL = 18
NARROW = 100


class Field(Walk):
    """A field in one widget. `value` is as in the answers file, or the raw text where it is none."""

    DEFAULT_CSS = """
    Field { width: 1fr; height: auto; }
    """

    class Focused(Message):
        """The cursor came to another place of this field: its help is wanted."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(id="field-" + "-".join(str(part) for part in place.path), classes="field")
        self.shape = shape
        self.place = place
        self.value = value
        self.trouble = ""

    @property
    def lines_begin(self) -> Offset:
        return Offset(NARROW_LABEL if self.app.size.width < NARROW else LABEL, 0)

    @property
    def label(self) -> str:
        """The field's name for people."""
        return tr(self.shape.note.label)

    @property
    def help(self) -> str:
        """What the field is about, and the line under the cursor."""
        line = self.help_of_line()
        return f"{self.label}: {tr(self.shape.note.help)}" + (f"  {line}" if line else "")

    def help_of_line(self) -> str:
        """What there is to know about the line under the cursor; empty where the field's help says it all."""
        return ""

    def render(self) -> Content:
        indent = self.lines_begin.x
        lines = self.drawn_lines() or [Content("")]
        drawn = [Content.assemble(cut(self.label, indent - 1), " ", lines[0])]
        drawn += [Content.assemble(" " * indent, line) for line in lines[1:]]
        drawn += [Content.styled(" " * indent + line, "$text-error") for line in self._reason(self.size.width)]
        return Content("\n").join(drawn)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self.lines())) + len(self._reason(width))

    def _reason(self, width: int) -> list[str]:
        return wrapped(f"! {self.trouble}", max(10, width - self.lines_begin.x)) if self.trouble else []

    def show_trouble(self, reason: str) -> None:
        """Tells what is wrong, beside the field; empty takes it back."""
        if reason != self.trouble:
            self.trouble = reason
            self.refresh(layout=True)

    def tell(self, value: Any) -> None:
        """Takes a value and tells the form."""
        self.value = value
        self.post_message(Changed(self.place.table, self.place.path, value))

    def _on_focus(self, event: Focus) -> None:
        self.post_message(self.Focused(self))

    def watch_at(self, at: int) -> None:
        super().watch_at(at)
        if self.has_focus:
            self.post_message(self.Focused(self))
