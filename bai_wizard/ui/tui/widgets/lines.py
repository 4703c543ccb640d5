"""An editor of several lines, as high as its text."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import TextArea


class Lines(TextArea):
    """As high as its lines, within bounds. Up and Down leave it at the ends, so that arrow keys reach everything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "up_or_leave", "Up", show=False, id="lines.up"),
        Binding("down", "down_or_leave", "Down", show=False, id="lines.down"),
    ]
    DEFAULT_CSS = """
    Lines { height: auto; min-height: 1; max-height: 8; width: 1fr; border: none; padding: 0; }
    Lines:focus { border: none; }
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, soft_wrap=False, tab_behavior="focus", compact=True, highlight_cursor_line=False)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Blank until the styles are loaded: a screen below a dialog may be drawn before them."""
        if "text-area--gutter" not in self._component_styles:
            return [Strip.blank(crop.width)] * crop.height
        return super().render_lines(crop)

    def action_up_or_leave(self) -> None:
        """Move one line up, or to the previous field."""
        if self.cursor_location[0] == 0:
            self.screen.focus_previous()
        else:
            self.action_cursor_up()

    def action_down_or_leave(self) -> None:
        """Move one line down, or to the next field."""
        if self.cursor_location[0] >= self.document.line_count - 1:
            self.screen.focus_next()
        else:
            self.action_cursor_down()
