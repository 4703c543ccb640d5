"""A column of lines with a cursor on one of them: the base of every list and almost every field.

One widget per field, which draws itself: a page of forty fields has to appear within a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, chop_cells, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Blur, Click, Focus
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from bai_wizard.core.display import visible
from bai_wizard.ui.tui.base import shown, while_mounted

Item = TypeVar("Item")


class AtLine(Message):
    """Something happened at a line of a list."""

    def __init__(self, list_box: ListBox, cursor: int) -> None:
        super().__init__()
        self.list_box = list_box
        self.cursor = cursor

    @property
    def control(self) -> ListBox:
        """The list, for the selectors of handlers."""
        return self.list_box


class ListBox(Widget, can_focus=True):
    """Lines of text, as high as there are lines. Up and Down move, and leave at the ends; Enter or Space selects.

    The terminal's own cursor follows `cursor`, so that braille displays and screen readers find the line.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk(-1)", "Up", show=False, id="walk.up"),
        Binding("down", "walk(1)", "Down", show=False, id="walk.down"),
        Binding("home", "walk_to(0)", "First", show=False, id="walk.first"),
        Binding("end", "walk_to(-1)", "Last", show=False, id="walk.last"),
        Binding("space,enter", "take", "Take", show=False, id="walk.take"),
    ]
    DEFAULT_CSS = """
    ListBox { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    cursor: reactive[int] = reactive(0)
    # Whether the line under the cursor is marked while the focus is elsewhere.
    marks_always = False
    _height = -1

    class Selected(AtLine):
        """The user selected the line `cursor`."""

    class Highlighted(AtLine):
        """The cursor moved to the line `cursor`."""

    @property
    def lines_begin(self) -> Offset:
        """Where the first line begins: to the right of a label column, below anything above the lines."""
        return Offset(0, 0)

    def lines(self) -> Sequence[str | Content]:
        """The lines that the cursor can move over."""
        return ()

    def drawn_lines(self) -> list[Content]:
        """The lines with the one under the cursor marked."""
        drawn = []
        for index, line in enumerate(self.lines()):
            content = shown(line, lines=False)
            if index == self.cursor and self.has_focus:
                # One reverse style for the whole row; per-span colors would look patchy.
                content = Content(content.plain).stylize("reverse")
            elif index == self.cursor and self.marks_always:
                content = content.stylize("bold")
            drawn.append(content)
        return drawn

    def render(self) -> Content:
        return shown(Content("\n").join(self.drawn_lines()))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.lines())

    @property
    def cursor_in_widget(self) -> Offset:
        """The position of the terminal's own cursor."""
        return Offset(self.lines_begin.x, self.lines_begin.y + self.cursor)

    def changed(self) -> None:
        """Redraw the lines; call it when the result of `lines` has changed."""
        height = len(self.lines())
        self.cursor = max(0, min(self.cursor, height - 1))
        # A new layout redraws the whole screen: only if the height has changed.
        self.refresh(layout=height != self._height)
        self._height = height

    def action_walk(self, by: int) -> None:
        """Move the cursor; beyond the ends, to the next field."""
        if 0 <= self.cursor + by < len(self.lines()):
            self.cursor += by
        elif by < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def action_walk_to(self, index: int) -> None:
        """Move the cursor to a line; negative numbers count from the end."""
        self.cursor = index if index >= 0 else max(0, len(self.lines()) + index)
        self.show_cursor()

    def action_take(self) -> None:
        if self.cursor < len(self.lines()):
            self.on_select(self.cursor)

    def on_select(self, index: int) -> None:
        self.post_message(self.Selected(self, index))

    def watch_cursor(self, index: int) -> None:
        if self.has_focus:
            self.show_cursor()
        self.post_message(self.Highlighted(self, index))

    @while_mounted
    def show_cursor(self) -> None:
        """Keep the line under the cursor visible in all scrolling containers around it."""
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
        """Textual calls this when the focus arrives: show the line under the cursor, not the top of a long list."""
        self.show_cursor()

    def _scroll(self, parent: Widget, line: Region) -> None:
        """Scroll a line into view; from the first and the last one, also what is beyond and cannot be focused."""
        inside = [widget for widget in self.screen.focus_chain if parent in widget.ancestors]
        if inside[:1] == [self] and self.cursor == 0:
            parent.scroll_to(y=line.bottom - parent.size.height, animate=False, immediate=True, force=True)
        elif inside[-1:] == [self] and self.cursor == len(self.lines()) - 1:
            parent.scroll_to(y=line.y, animate=False, immediate=True, force=True)
        else:
            parent.scroll_to_region(line, animate=False, immediate=True, force=True)

    # Textual calls the handlers of all base classes on its own: no super() in these.
    def _on_focus(self, event: Focus) -> None:
        self.refresh()
        self.call_after_refresh(self.show_cursor)

    def _on_blur(self, event: Blur) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is not None and 0 <= (line := offset.y - self.lines_begin.y) < len(self.lines()):
            self.cursor = line
            self.action_take()


class ItemList(ListBox, Generic[Item]):
    """Lines, each of which stands for an item; a text while there are none."""

    def __init__(self, id: str, text: str = "") -> None:
        super().__init__(id=id)
        self.items: list[tuple[str | Content, Item]] = []
        self._text = text

    def fill(self, items: Iterable[tuple[str | Content, Item]], text: str = "") -> None:
        """Show other items, or the text if there are none."""
        self.items, self._text = list(items), text
        self.changed()

    def lines(self) -> list[str | Content]:
        return [line for line, _ in self.items] or [self._text]

    def at_cursor(self) -> Item | None:
        """The item of the line under the cursor."""
        return self.items[self.cursor][1] if self.cursor < len(self.items) else None


# Longer texts are wrapped like prose; a column narrower than this has no room for a choice of breaks.
MAX_CELL, MIN_BREAK = 400, 6


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most this many cells, broken at blanks if there are any."""
    lines: list[str] = []
    for paragraph in visible(text).splitlines():
        line = ""
        for word in paragraph.split(" "):
            if line and cell_len(line) + 1 + cell_len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
            if cell_len(line) > width > 1:
                # All at once: a pasted word may have thousands of letters.
                *whole, line = chop_cells(line, width)
                lines += whole
        lines.append(line)
    return lines


# Where a name may be broken, such as a path or a kernel parameter.
BREAKS = "/._-:,@"


def in_cell(text: str, width: int) -> list[str]:
    """The text in lines for a column: long names are broken after a punctuation mark if there is one."""
    if len(text) > MAX_CELL or width < MIN_BREAK:
        return wrapped(text, width)
    words = []
    for word in text.split(" "):
        while cell_len(word) > width:
            head = chop_cells(word, width)[0]
            end = max(head.rfind(mark) for mark in BREAKS) + 1
            end = end if end > len(head) // 2 else len(head)
            words.append(word[:end])
            word = word[end:]
        words.append(word)
    return wrapped(" ".join(words), width)


def short(text: str) -> str:
    """The text, truncated to fit a notice: pasted text may be part of it."""
    return text if len(text) <= 400 else text[:399] + "…"


def inset(text: str, width: int) -> list[str]:
    """The text in lines of at most this many cells, all of them indented."""
    return ["  " + line for line in wrapped(text, max(10, width - 2))]


def cut(text: str, width: int) -> str:
    """The text in exactly this many cells, with `…` if it is truncated."""
    text = visible(text, lines=False)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(0, width - 1)) + "…"
