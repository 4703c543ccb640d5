"""Work that may take long: in a thread that nobody waits for, its outcome handed back to the screen's own loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

T = TypeVar("T")


class Outcome(Generic[T]):
    """What a piece of work came to: a value, or the error it ended with."""

    def __init__(self, value: T | None = None, error: Exception | None = None) -> None:
        self._value = value
        self.error = error

    def get(self) -> T:
        """The value. Raises the error of the work."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]


class Came(Message):
    """A piece of work is done; `take` is called in the loop of the screen."""

    bubble = False

    def __init__(self, take: Callable[[], None]) -> None:
        super().__init__()
        self.take = take


def behind(app: App[Any], work: Callable[[], T], then: Callable[[Outcome[T]], None]) -> None:
    """Does `work` in a daemon thread, so that a hung one cannot keep the wizard from ending."""

    def do() -> None:
        try:
            outcome = Outcome(work())
        except Exception as error:  # noqa: BLE001 - handed to `then`, which has to tell
            outcome = Outcome[T](error=error)
        app.post_message(Came(lambda: then(outcome) if is_there(app, then) else None))

    threading.Thread(target=do, daemon=True, name="bai-wizard-work").start()


def is_there(app: App[Any], then: Callable[..., None]) -> bool:
    """Whether whoever wanted to know is still on a screen: a screen that was left has lost its parts."""
    owner = getattr(then, "__self__", None)
    if isinstance(owner, Screen):
        return owner in app.screen_stack
    return not isinstance(owner, Widget) or owner.is_attached
