"""A column of lines with a cursor on one of them: what every list of ours is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Offset, Region
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

    def lines(self) -> Sequence[str | Content]:
        """What stands there, a line each."""
        return ()

    def help_of_line(self) -> str:
        """What there is to know about the line under the cursor; empty where its field's help says it all."""
        return ""

    def render(self) -> Content:
        drawn = []
        for place, line in enumerate(self.lines()):
            content = line if isinstance(line, Content) else Content(line)
            marked = place == self.at and (self.has_focus or self.marks_always)
            drawn.append(content.stylize("reverse" if self.has_focus else "bold") if marked else content)
        return Content("\n").join(drawn)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return len(self.lines())

    @property
    def cursor_in_widget(self) -> Offset:
        """Where the terminal's own cursor belongs."""
        return Offset(0, self.at)

    def changed(self) -> None:
        """Draws the lines anew; call it when `lines` gives others."""
        self.at = max(0, min(self.at, len(self.lines()) - 1))
        self.refresh(layout=True)

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
        line = Region(0, self.at, max(1, self.size.width), 1)
        below: Widget = self
        region = line.translate(self.content_region.offset - self.region.offset)
        while isinstance(parent := below.parent, Widget):
            region = region.translate(below.virtual_region.offset)
            if parent.is_scrollable:
                parent.scroll_to_region(region, animate=False, immediate=True, force=True)
                region = region.translate(-parent.scroll_offset)
            below = parent

    def on_focus(self) -> None:
        self.refresh()
        self.call_after_refresh(self.show_cursor)

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self.lines()):
            self.at = offset.y
            self.action_take()
