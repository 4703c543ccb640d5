"""Type-ahead keys reach the widget that the previous key opened, and text meant for a field stays text.

A key goes to the focused widget and bubbles up as a message; a key typed meanwhile would go to the previously focused
widget. So each key waits for the one before it: a marker follows it through the same queues, twice, because the key's
effect may itself be a message.

Letters are commands on most screens, so text must not reach them. A terminal with bracketed paste marks pasted text.
On others, characters that arrive faster than anyone types are treated as a paste. And after a letter that has no
meaning where it was typed, the following letters are treated as text that missed its field.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import deque
from collections.abc import Sequence
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message

from bai_wizard.locale import tr

# Markers are lost if their widget is removed; the next key then waits no longer than this, in seconds.
PATIENCE = 2.0
ROUNDS = 2
# Keys that never wait.
WAY_OUT = ("ctrl+c", "ctrl+q")
# Characters within this many seconds of each other are a paste if there are at least this many. A key that is held
# down repeats every 30 ms; a slow serial line delivers a character every 1 to 8 ms.
GAP = 0.012
BURST = 4
# How long a character waits for the next one before it is treated as a key, in seconds.
HOLD = 0.015
# For how many seconds after a letter without a meaning other letters are ignored as well.
TYPING = 0.6
# Keys that are characters in pasted text.
IN_TEXT = {"enter": "\n", "ctrl+j": "\n", "tab": "\t"}


class Passed(Message):
    """The marker after a key."""

    def __init__(self, number: int, round: int) -> None:
        super().__init__()
        self.number = number
        self.round = round


class TypeAheadMixin:
    """Mixed into the application before `App`."""

    _typed: deque[events.Key | events.Paste]
    _number = 0
    _underway = False
    holds_keys = False
    _patience: asyncio.TimerHandle | None = None
    # The characters waiting for the next one, how many preceded them in the same sequence, and when the last one
    # came.
    _held: tuple[events.Key, ...] = ()
    _run = 0
    _last = -1.0
    _hold: asyncio.TimerHandle | None = None
    # Until when letters are treated as text that missed its field.
    _typing_until = -1.0
    _is_noted = False

    def hold_keys(self) -> None:
        """From the first frame until the wizard can respond: keys wait, the mouse is ignored."""
        self._typed = deque()
        self._underway = self.holds_keys = True

    def let_keys_go(self) -> None:
        """Process the waiting keys, one after the other."""
        self.holds_keys = False
        self._release(self._number)

    @property
    def waits_for_characters(self) -> bool:
        """Whether a character waits for the next one, to be distinguished from a paste."""
        return bool(self._held)

    async def on_event(self, event: events.Event) -> None:
        """Hold keys back while another is being processed."""
        if isinstance(event, events.InputEvent):
            # A queue that is never empty starves the event loop: signals, timers and frames would wait for the end of
            # a long paste.
            await asyncio.sleep(0)
            if not self.screen_stack:  # type: ignore[attr-defined]
                return  # the wizard closed in the meantime
        if self.holds_keys and isinstance(event, events.MouseEvent):
            return
        if self.holds_keys and isinstance(event, events.Key) and event.key in WAY_OUT:
            self.exit(0)  # type: ignore[attr-defined]
        elif not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)  # type: ignore[misc]
        elif isinstance(event, events.Key) and self._is_text(event) and not self._is_typed(event):
            self._receive(event)
        else:
            self._let_go()
            await self._take(event)

    def _is_text(self, event: events.Key) -> bool:
        return event.is_printable or event.key == "enter" or (bool(self._held) and event.key in IN_TEXT)

    def _is_typed(self, event: events.Key) -> bool:
        """Whether a character after a pause is for an editor: typed or pasted, it is text, and need not wait."""
        if self._underway or self._held or event.time - self._last <= GAP or self._editor() is None:
            return False
        self._last, self._run = event.time, 1
        return True

    def _receive(self, event: events.Key) -> None:
        if event.time - self._last > GAP:
            self._let_go()
            self._run = 0
        self._last = event.time
        self._held = (*self._held, event)
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
        self._hold = asyncio.get_running_loop().call_later(HOLD, self._no_more)

    def _no_more(self) -> None:
        # If the loop was blocked, the next characters have already arrived.
        if not self._message_queue.empty():  # type: ignore[attr-defined]
            self._wait_for_more()
        else:
            self._let_go()

    def _let_go(self) -> None:
        """Process the waiting characters: as keys, or as a paste."""
        held, self._held = self._held, ()
        if self._hold is not None:
            self._hold.cancel()
        self._run += len(held)
        self._typed.extend(held if self._run < BURST else as_paste(held))
        if held and not self._underway:
            self._underway = True
            self.call_later(self._send, self._typed.popleft())  # type: ignore[attr-defined]

    async def _take(self, event: events.Key | events.Paste) -> None:
        if self._underway:
            self._typed.append(event)
        else:
            await self._send(event)

    async def _send(self, event: events.Key | events.Paste) -> None:
        self._underway = True
        heard = self._pasted(event) if isinstance(event, events.Paste) else self._command(event)
        if heard is not None:
            await super().on_event(heard)  # type: ignore[misc]
        self._number += 1
        self._follow(self._number, 1)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._release, self._number)

    def _editor(self) -> Any | None:
        """The focused widget if it accepts text."""
        app: App[Any] = self  # type: ignore[assignment]
        if not app.app_focus:
            app.app_focus = True
        focused = app.focused
        return focused if hasattr(focused, "_on_paste") or hasattr(focused, "make_editor") else None

    def _pasted(self, event: events.Paste) -> events.Paste | None:
        """The pasted text without control characters, for an editor; elsewhere it is rejected as a whole."""
        text = plain(event.text)
        editor = self._editor()
        if editor is None:
            self.tell(tr("The pasted text was ignored: no field is being edited."), severity="warning")  # type: ignore[attr-defined]
            return None
        if hasattr(editor, "validators") and len(text.strip("\n").split("\n")) > 1:
            self.tell(tr("Only the first line was pasted: this field has one line."), severity="warning")  # type: ignore[attr-defined]
            text = text.lstrip("\n")
        return events.Paste(text) if text else None

    def _command(self, event: events.Key) -> events.Key | None:
        """The key, or None for a character of text that missed its field."""
        app: App[Any] = self  # type: ignore[assignment]
        if not (event.is_printable or event.key == "enter") or self._editor() is not None:
            return event
        bound = not {event.key, *event.aliases}.isdisjoint(app.screen.active_bindings)
        if event.time > self._typing_until:
            self._is_noted = False
            if not bound:
                self._typing_until = event.time + TYPING
            return event
        self._typing_until = event.time + TYPING
        if not self._is_noted:
            self._is_noted = True
            self.tell(tr("What you typed was ignored: no field is being edited."), severity="warning")  # type: ignore[attr-defined]
        return None

    def _follow(self, number: int, round: int) -> None:
        app: App[Any] = self  # type: ignore[assignment]
        target = app.focused or app.screen
        target.post_message(Passed(number, round))

    def on_passed(self, passed: Passed) -> None:
        """Handle a marker that has come back."""
        if passed.number == self._number and self._underway:
            if passed.round < ROUNDS:
                self._follow(passed.number, passed.round + 1)
            else:
                self._release(passed.number)

    def _release(self, number: int) -> None:
        if number != self._number or not self._underway:
            return
        if self._patience is not None:
            self._patience.cancel()
        if self._typed:
            self.call_later(self._send, self._typed.popleft())  # type: ignore[attr-defined]
        else:
            self._underway = False


def as_paste(keys: Sequence[events.Key]) -> list[events.Key | events.Paste]:
    """Characters as a paste. The keys after a line stay keys: Tab, and Enter at the end.

    A slow line delivers them with the text that was typed before them, and programs send a line and Enter at once.
    """
    text = "".join(IN_TEXT.get(key.key) or key.character or "" for key in keys)
    if not text.strip("\n"):
        return list(keys)
    line = text.removesuffix("\n").rstrip("\t")
    if "\n" in line:
        return [events.Paste(text)]
    return [*([events.Paste(line)] if line else []), *keys[len(line) :]]


def plain(text: str) -> str:
    """A pasted text with LF line breaks, and without control characters other than tabs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(character for character in lines if character in "\n\t" or unicodedata.category(character) != "Cc")
