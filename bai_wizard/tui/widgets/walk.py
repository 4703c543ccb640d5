"""A column of lines with a cursor on one of them: what every list and almost every field of ours is made of.

One widget a field, drawn by itself: a page of forty fields has to be there in a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Blur, Click, Focus
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Walk(Widget, can_focus=True):
    """Lines of text, as high as there are lines. Up and Down walk, and leave at the ends; Enter or Space takes one.

    The terminal's own cursor follows `at`, so that braille displays and screen readers find the line.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk(-1)", "Up", show=False, id="walk.up"),
        Binding("down", "walk(1)", "Down", show=False, id="walk.down"),
        Binding("home", "walk_to(0)", "First", show=False, id="walk.first"),
        Binding("end", "walk_to(-1)", "Last", show=False, id="walk.last"),
        Binding("space,enter", "take", "Take", show=False, id="walk.take"),
    ]
    DEFAULT_CSS = """
    Walk { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    at: reactive[int] = reactive(0)
    # Whether the line under the cursor is marked while the focus is elsewhere.
    marks_always = False
    _height = -1

    class Taken(Message):
        """Somebody took the line `at`."""

        def __init__(self, walk: Walk, at: int) -> None:
            super().__init__()
            self.walk = walk
            self.at = at

        @property
        def control(self) -> Walk:
            """The list."""
            return self.walk

    class Moved(Message):
        """The cursor came to the line `at`."""

        def __init__(self, walk: Walk, at: int) -> None:
            super().__init__()
            self.walk = walk
            self.at = at

        @property
        def control(self) -> Walk:
            """The list."""
            return self.walk

    @property
    def lines_begin(self) -> Offset:
        """Where the first line begins: right of a label's column, below anything above the lines."""
        return Offset(0, 0)

    def lines(self) -> Sequence[str | Content]:
        """What can be walked over, a line each."""
        return ()

    def drawn_lines(self) -> list[Content]:
        """The lines with the one under the cursor marked."""
        drawn = []
        for place, line in enumerate(self.lines()):
            content = line if isinstance(line, Content) else Content(line)
            if place == self.at and self.has_focus:
                # In one piece: colours turned over would make patches of it.
                content = Content(content.plain).stylize("reverse")
            elif place == self.at and self.marks_always:
                content = content.stylize("bold")
            drawn.append(content)
        return drawn

    def render(self) -> Content:
        return Content("\n").join(self.drawn_lines())

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines())

    @property
    def cursor_in_widget(self) -> Offset:
        """Where the terminal's own cursor belongs."""
        return Offset(self.lines_begin.x, self.lines_begin.y + self.at)

    def changed(self) -> None:
        """Draws the lines anew; call it when `lines` gives others."""
        height = len(self.lines())
        self.at = max(0, min(self.at, height - 1))
        # A new layout draws the whole screen anew: only where the height asks for it.
        self.refresh(layout=height != self._height)
        self._height = height

    def action_walk(self, by: int) -> None:
        """Moves the cursor; beyond the ends, to the next field."""
        if 0 <= self.at + by < len(self.lines()):
            self.at += by
        elif by < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def action_walk_to(self, place: int) -> None:
        """Moves the cursor to a line, counted from the end where negative."""
        self.at = place if place >= 0 else max(0, len(self.lines()) + place)
        self.show_cursor()

    def action_take(self) -> None:
        """Takes the line under the cursor."""
        if self.at < len(self.lines()):
            self.taken(self.at)

    def taken(self, at: int) -> None:
        """What taking a line does."""
        self.post_message(self.Taken(self, at))

    def watch_at(self, at: int) -> None:
        if self.has_focus:
            self.show_cursor()
        self.post_message(self.Moved(self, at))

    def show_cursor(self) -> None:
        """Keeps the line under the cursor in sight, in whatever scrolls around it."""
        cursor = self.cursor_in_widget
        region = Region(0, cursor.y, 1, 1)
        below: Widget = self
        while isinstance(parent := below.parent, Widget):
            region = region.translate(below.virtual_region.offset)
            if parent.is_scrollable:
                self._scroll(parent, region)
                region = region.translate(-parent.scroll_offset)
            below = parent

    def scroll_visible(self, *_: Any, **__: Any) -> None:
        """What Textual asks for when the focus comes: the line under the cursor, not the top of a long list."""
        self.show_cursor()

    def _scroll(self, parent: Widget, line: Region) -> None:
        """Brings a line in sight; from the first and the last one, also what lies beyond and cannot be walked to."""
        inside = [widget for widget in self.screen.focus_chain if parent in widget.ancestors]
        if inside[:1] == [self] and self.at == 0:
            parent.scroll_to(y=line.bottom - parent.size.height, animate=False, immediate=True, force=True)
        elif inside[-1:] == [self] and self.at == len(self.lines()) - 1:
            parent.scroll_to(y=line.y, animate=False, immediate=True, force=True)
        else:
            parent.scroll_to_region(line, animate=False, immediate=True, force=True)

    # Textual calls the handlers of all base classes by itself: no super() in these.
    def _on_focus(self, event: Focus) -> None:
        self.refresh()
        self.call_after_refresh(self.show_cursor)

    def _on_blur(self, event: Blur) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is not None and 0 <= (line := offset.y - self.lines_begin.y) < len(self.lines()):
            self.at = line
            self.action_take()


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many cells, broken at blanks where there are some."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            if line and cell_len(line) + 1 + cell_len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
            while cell_len(line) > width > 1:
                head = set_cell_size(line, width)
                lines.append(head)
                line = line[len(head.rstrip()) :].lstrip()
        lines.append(line)
    return lines


def inset(text: str, width: int, by: int = 2) -> list[str]:
    """The text in lines of at most so many cells, all of them moved in."""
    return [" " * by + line for line in wrapped(text, max(10, width - by))]


def cut(text: str, width: int) -> str:
    """The text in exactly so many cells, with `…` where something is missing."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(0, width - 1)) + "…"
