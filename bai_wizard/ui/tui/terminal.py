"""Terminal capabilities, cursor placement, clean-up on exit, and the color themes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from codecs import getincrementaldecoder
from itertools import chain
from selectors import EVENT_READ, SelectSelector
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual._xterm_parser import XTermParser
from textual.color import Color
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.geometry import Offset
from textual.theme import Theme
from textual.widget import Widget

from bai_wizard.core.display import visible
from bai_wizard.ui.console import Console, to_ascii

if TYPE_CHECKING:
    from collections.abc import Sequence


class VisibleFilter(LineFilter):
    """Escapes control characters in the output of any widget, within the width that it drew.

    Our own widgets escape before they measure; this covers Textual's widgets and any omission.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        texts = [visible(text, lines=False) for text, _, _ in segments]
        if all(text == segment.text for text, segment in zip(texts, segments, strict=True)):
            return segments
        safe = [Segment(text, style) for text, (_, style, _) in zip(texts, segments, strict=True)]
        return Segment.adjust_line_length(safe, sum(segment.cell_length for segment in segments), pad=False)


# One for all widgets: lines are cached by their filter.
VISIBLE = VisibleFilter()


class AsciiFilter(LineFilter):
    """Replaces every glyph with ASCII characters of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(to_ascii(text), style, control) for text, style, control in segments]


class AttributesOnly(LineFilter):
    """Removes all colors, even the default ones: text without attributes costs no additional bytes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and style.without_color, control) for text, style, control in segments]


class CursorDriver(LinuxDriver):
    """Keeps the terminal's own cursor visible: braille displays and screen readers follow it.

    Invalid UTF-8 and sequences that no parser knows are dropped; Textual's own driver ends the application for them.
    """

    def run_input_thread(self) -> None:
        """Read the keyboard and the mouse, and post their events."""
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        parser = XTermParser()
        with SelectSelector() as selector:
            selector.register(self.fileno, EVENT_READ)
            while not self.exit_event.is_set():
                text = ""
                if selector.select(0.1):
                    text = decode(os.read(self.fileno, 4096)).replace("\N{REPLACEMENT CHARACTER}", "")
                    if not text:
                        # An incomplete character, or a closed terminal: SIGHUP tells which.
                        self.exit_event.wait(0.01)
                        continue
                try:
                    for event in chain(parser.feed(text) if text else (), parser.tick()):
                        self.process_message(event)
                except (ValueError, ArithmeticError):
                    parser = XTermParser()

    _is_suspending = False

    def _sigtstp_application(self, *arguments: Any) -> None:
        """Suspend, unless already suspending, or this is the session leader, which no shell would continue."""
        if self._is_suspending or os.getsid(0) == os.getpid():
            return
        self._is_suspending = True
        try:
            super()._sigtstp_application(*arguments)
        finally:
            self._is_suspending = False

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write("\x1b[?25h")
        self.flush()


def _place_of(widget: Widget) -> Offset:
    """The position of a widget's own cursor on the screen."""
    # Textual's editors know it; they are not imported for this, the text area alone costs 35 ms.
    own: Offset | None = getattr(widget, "cursor_screen_offset", None)
    if own is not None:
        return own
    inside: Offset = getattr(widget, "cursor_in_widget", Offset(0, 0))
    return widget.content_region.offset + inside


class TerminalMixin:
    """The application's terminal handling."""

    console_kind: Console
    focused: Any
    no_color: bool
    _cursor = Offset(0, 0)

    @property
    def cursor_position(self) -> Offset:
        """The position of the terminal's cursor after each frame: in the focused widget, on its selected row."""
        widget = self.focused
        if widget is not None and widget.is_attached:
            path = _place_of(widget)
            # Until the screen has scrolled to it, a widget outside the visible area has the wrong position.
            if all(
                above.region.contains_point(path)
                for above in widget.ancestors
                if isinstance(above, Widget) and above.is_scrollable
            ):
                self._cursor = path
        return self._cursor

    @cursor_position.setter
    def cursor_position(self, value: Offset) -> None:
        self._cursor = value

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters and ours. Without colors means attributes only: Textual would use shades of gray."""
        filters: list[LineFilter] = [*super().get_line_filters()]  # type: ignore[misc]
        if self.no_color or self.console_kind.serial:
            filters = [*(each for each in filters if not isinstance(each, Monochrome | NoColor)), AttributesOnly()]
        filters = [VISIBLE, *filters]
        return [*filters, AsciiFilter()] if self.console_kind.ascii else filters

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGHUP end the wizard cleanly: the terminal is restored, the run continues."""
        loop = asyncio.get_running_loop()

        def heard(number: int, _frame: object) -> None:
            if loop.is_closed():
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            else:
                loop.call_soon_threadsafe(self._end, signal.Signals(number))

        for number in (signal.SIGTERM, signal.SIGHUP):
            try:
                # Not through the event loop: it loses signals while hundreds of keys are pending, because they fill
                # its pipe.
                signal.signal(number, heard)
            except ValueError:
                # Not the main thread: the wizard is embedded in another program, which handles its own signals.
                return

    def _end(self, number: signal.Signals) -> None:
        self.keep_draft()  # type: ignore[attr-defined]
        # A closed terminal cannot be restored; do not wait for it. The event loop may: it waits for the thread that
        # writes, which the closed terminal has ended.
        last = threading.Timer(2.0, os._exit, (128 + number,))
        last.daemon = True
        last.start()
        self.exit(return_code=128 + number)  # type: ignore[attr-defined]

    def _fatal_error(self) -> None:
        """Report a crash with messages and source lines, never with local variables: they may hold secrets."""
        import traceback

        from rich.text import Text

        from bai_wizard.core.secret import redact

        text = redact(traceback.format_exc(limit=-12))
        self._exit_renderables.append(Text(text, no_wrap=True, overflow="ignore"))  # type: ignore[attr-defined]
        self._close_messages_no_wait()  # type: ignore[attr-defined]


# The contrast of every pair of text and background is at least 4.5:1, of the last theme 7:1 (tests/tui).
THEMES = (
    Theme(
        name="wizard-dark", dark=True,
        foreground="#d7dcee", background="#16181f", surface="#1d2029", panel="#2a2f3d",
        primary="#7aa2f7", secondary="#7dcfff", accent="#7dcfff",
        success="#9ece6a", warning="#e0af68", error="#ff8a9a",
    ),
    Theme(
        name="wizard-light", dark=False,
        foreground="#1c2230", background="#f6f6f3", surface="#ecece7", panel="#dcdcd4",
        primary="#24539b", secondary="#0b6477", accent="#0b6477",
        success="#2c6415", warning="#7a4a00", error="#a3142e",
    ),
    Theme(
        name="wizard-contrast", dark=True,
        foreground="#ffffff", background="#000000", surface="#000000", panel="#1a1a1a",
        primary="#ffffff", secondary="#00ffff", accent="#00ffff",
        success="#5fff5f", warning="#ffff00", error="#ff9f9f",
    ),
)  # fmt: skip
