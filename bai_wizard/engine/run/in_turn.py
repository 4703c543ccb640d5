"""The log of several things done at once, as if they had been done one after the other."""

from __future__ import annotations

from threading import Lock
from typing import Any

from bai_wizard.core.event import Log


class InTurn:
    """Each one's lines stay together and in the order of the ones. The first that has not ended is heard at once;
    what the others say is kept until it is their turn."""

    def __init__(self, log: Log, count: int) -> None:
        self._log = log
        self._kept: list[list[tuple[str, dict[str, Any]]]] = [[] for _ in range(count)]
        self._ended: set[int] = set()
        self._turn = 0
        self._lock = Lock()

    def of(self, number: int) -> Log:
        """The log for one of them, counted from 0."""

        def log(text: str, **about: Any) -> None:
            with self._lock:
                if number == self._turn:
                    self._log(text, **about)
                else:
                    self._kept[number].append((text, about))

        return log

    def end(self, number: int) -> None:
        """This one says nothing more."""
        with self._lock:
            self._ended.add(number)
            while self._turn in self._ended:
                self._turn += 1
                for text, about in self._kept[self._turn] if self._turn < len(self._kept) else ():
                    self._log(text, **about)
