"""The lines below a form: what the field under the cursor is about, as far as there is room."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.walk import cut, wrapped

# Lines that there is room for.
ROOM = 2


class Hint(Widget):
    """At most two lines; what does not fit is said to be in the help."""

    def __init__(self, text: str = "") -> None:
        super().__init__(id="hint")
        self.text = text

    def show(self, text: str) -> None:
        """Takes another text."""
        if text != self.text:
            self.text = text
            self.refresh(layout=True)

    def _lines(self, width: int) -> list[str]:
        lines = wrapped(self.text, width)
        if len(lines) <= ROOM:
            return lines
        more = " " + tr("(F1: all of it)")
        return [*lines[: ROOM - 1], cut(f"{lines[ROOM - 1]} …", max(0, width - len(more))).rstrip() + more]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def render(self) -> Content:
        return Content("\n".join(self._lines(self.size.width)))
