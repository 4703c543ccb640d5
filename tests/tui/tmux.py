"""A real tmux for tests: a session of a server of its own, driven and read as a person beside it would."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.tui.terminal import MOMENT, PATIENCE, SILENCE

KEYS = {
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "home": "Home",
    "end": "End",
    "enter": "Enter",
    "escape": "Escape",
}
# Seconds between two looks at a pane.
LOOK = 0.05


class Tmux:
    """A command in a pane; the words that tests use are those of `terminal.Terminal`."""

    def __init__(
        self,
        argv: Sequence[str],
        place: Path,
        *,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tmux = ["tmux", "-S", str(place / "tmux"), "-f", "/dev/null"]
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}
        width, height = size
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), shlex.join(argv))

    def _run(self, *words: str) -> str:
        return subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def text(self) -> str:
        """What stands in the pane."""
        return "\n".join(line.rstrip() for line in self._run("capture-pane", "-p").split("\n"))

    def row(self) -> str:
        """The line that the cursor stands on."""
        return self.text().split("\n")[int(self._run("display-message", "-p", "#{cursor_y}"))]

    def until(self, seen: str | Callable[[], bool], patience: float = PATIENCE) -> None:
        """Waits for a text in the pane, or for a condition."""
        deadline = time.monotonic() + patience
        while not (seen in self.text() if isinstance(seen, str) else seen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text()}")
            select.select([], [], [], LOOK)

    def press(self, *keys: str) -> None:
        """Sends keys, or plain text."""
        for key in keys:
            self._run("send-keys", *([KEYS[key]] if key in KEYS else ["-l", key]))
            # A lone Esc is told from a sequence by what follows within a moment.
            select.select([], [], [], 0.2 if key == "escape" else 0.03)

    def step(self, key: str) -> None:
        """Presses a key and waits until it has moved the cursor or changed the pane, a moment at most."""
        before, deadline = self._state(), time.monotonic() + MOMENT
        self.press(key)
        while self._state() == before and time.monotonic() < deadline:
            select.select([], [], [], LOOK)
        self.settle()

    def settle(self) -> None:
        """Waits until nothing has moved for a moment."""
        before = ""
        while before != (before := self._state()):
            select.select([], [], [], SILENCE)

    def _state(self) -> str:
        return self._run("display-message", "-p", "#{cursor_x},#{cursor_y}") + self.text()

    def kill(self) -> None:
        """`tmux kill-session`: the pane's terminal is gone at once, and the server with its last session."""
        subprocess.run([*self._tmux, "kill-session"], env=self._environment, capture_output=True, check=False)
