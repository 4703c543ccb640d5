"""Manners towards the terminal: what it can do, where its cursor stands, and how it is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.geometry import Offset
from textual.widget import Widget

from bai_wizard.wizard.console import Console
from bai_wizard.wizard.glyphs import to_ascii

if TYPE_CHECKING:
    from collections.abc import Sequence


class AsciiFilter(LineFilter):
    """Every glyph as one ASCII character of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


class AttributesOnly(LineFilter):
    """No colours at all, not even the default ones: what has no attribute costs no bytes beside its text."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and attributes_of(style), control) for text, style, control in segments]


@lru_cache(256)
def attributes_of(style: Style) -> Style | None:
    """The style without colours; None where nothing is left."""
    if not (style.bold or style.reverse or style.underline or style.dim or style.strike or style.italic):
        return None
    return Style(
        bold=style.bold,
        reverse=style.reverse,
        underline=style.underline,
        dim=style.dim,
        strike=style.strike,
        italic=style.italic,
        meta=style.meta or None,
    )


class CursorDriver(LinuxDriver):
    """Leaves the terminal's own cursor visible: braille displays and screen readers follow it."""

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write("\x1b[?25h")
        self.flush()


def _place_of(widget: Widget) -> Offset:
    """Where on the screen a widget's own cursor is."""
    # Textual's editors know; theirs are not imported for it, the text area alone costs 35 ms.
    own: Offset | None = getattr(widget, "cursor_screen_offset", None)
    if own is not None:
        return own
    inside: Offset = getattr(widget, "cursor_in_widget", Offset(0, 0))
    return widget.content_region.offset + inside


class TerminalMixin:
    """What the application adds for the terminal's sake."""

    console_kind: Console
    focused: Any
    no_color: bool
    _cursor = Offset(0, 0)

    @property
    def cursor_position(self) -> Offset:
        """Where the terminal's cursor goes after each frame: into the focused widget, on its selected row."""
        widget = self.focused
        if widget is not None and widget.is_attached:
            place = _place_of(widget)
            # Until the screen has scrolled to it, a widget below the fold has a place that is not its own.
            if all(
                above.region.contains_point(place)
                for above in widget.ancestors
                if isinstance(above, Widget) and above.is_scrollable
            ):
                self._cursor = place
        return self._cursor

    @cursor_position.setter
    def cursor_position(self, value: Offset) -> None:
        self._cursor = value

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and ours. Without colours means attributes only: Textual's own way is shades of grey."""
        filters: list[LineFilter] = [*super().get_line_filters()]  # type: ignore[misc]
        if self.no_color or self.console_kind.serial:
            filters = [*(each for each in filters if not isinstance(each, Monochrome | NoColor)), AttributesOnly()]
        return [*filters, AsciiFilter()] if self.console_kind.ascii else filters

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGHUP end the wizard in order: the terminal is put back, the run goes on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                loop.add_signal_handler(number, self._end, number)
            except (RuntimeError, ValueError):
                # Not the main thread: somebody else's program runs us, and its signals are its own.
                return

    def _end(self, number: signal.Signals) -> None:
        # A terminal that is gone cannot be put back; nobody shall wait for it.
        asyncio.get_running_loop().call_later(2.0, os._exit, 128 + number)
        self.exit(return_code=128 + number)  # type: ignore[attr-defined]

    def _fatal_error(self) -> None:
        """A crash in words and lines of code, never with local variables: they may hold secrets."""
        import traceback

        from rich.text import Text

        from bai_wizard.core.secret import redact

        text = redact(traceback.format_exc(limit=-12))
        self._exit_renderables.append(Text(text))  # type: ignore[attr-defined]
        self._close_messages_no_wait()  # type: ignore[attr-defined]
