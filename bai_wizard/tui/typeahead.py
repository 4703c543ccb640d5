"""Keys typed ahead find what the key before them brought about.

A key goes to the focused widget and comes back up as a message; a key typed meanwhile would go to whatever was
focused before. So each key waits for the one before it: a marker follows it through the same queues, twice, for what
it did may be a message of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message

# Markers get lost when a widget is removed under them; then the next key waits no longer than this, in seconds.
PATIENCE = 2.0
ROUNDS = 2
# What never waits.
WAY_OUT = ("ctrl+c", "ctrl+q")


class Passed(Message):
    """The marker behind a key."""

    def __init__(self, number: int, round: int) -> None:
        super().__init__()
        self.number = number
        self.round = round


class TypeAheadMixin:
    """Mixed into the application before `App`."""

    _typed: deque[events.Key]
    _number = 0
    _underway = False
    holds_keys = False
    _patience: asyncio.TimerHandle | None = None

    def hold_keys(self) -> None:
        """From the first picture until there is something to act on: keys wait, the mouse is not heard."""
        self._underway = self.holds_keys = True

    def let_keys_go(self) -> None:
        """The keys that waited go their way, one after the other."""
        self.holds_keys = False
        self._release(self._number)

    async def on_event(self, event: events.Event) -> None:
        """Holds keys back while another is under way."""
        if self.holds_keys and isinstance(event, events.MouseEvent):
            return
        if self.holds_keys and isinstance(event, events.Key) and event.key in WAY_OUT:
            self.exit(0)  # type: ignore[attr-defined]
        elif not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)  # type: ignore[misc]
        elif self._underway:
            self._queue().append(event)
        else:
            await self._send(event)

    async def _send(self, event: events.Key) -> None:
        self._underway = True
        await super().on_event(event)  # type: ignore[misc]
        self._number += 1
        self._follow(self._number, 1)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._release, self._number)

    def _queue(self) -> deque[events.Key]:
        if not hasattr(self, "_typed"):
            self._typed = deque()
        return self._typed

    def _follow(self, number: int, round: int) -> None:
        app: App[Any] = self  # type: ignore[assignment]
        target = app.focused or app.screen
        target.post_message(Passed(number, round))

    def on_passed(self, passed: Passed) -> None:
        """A marker came back."""
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
        if self._queue():
            self.call_later(self._send, self._queue().popleft())  # type: ignore[attr-defined]
        else:
            self._underway = False
