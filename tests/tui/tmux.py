"""A real tmux for tests: a session on its own server, driven and read like by a user."""

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
# Seconds between two checks of a pane.
LOOK = 0.05


class Tmux:
    """A command in a pane, with the interface of `terminal.Terminal`."""

    def __init__(
        self,
        argv: Sequence[str],
        directory: Path,
        *,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}
        width, height = size
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), shlex.join(argv))

    def _run(self, *words: str) -> str:
        return subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def text(self) -> str:
        """Return the content of the pane."""
        return "\n".join(line.rstrip() for line in self._run("capture-pane", "-p").split("\n"))

    def row(self) -> str:
        """Return the line of the cursor."""
        return self.text().split("\n")[int(self._run("display-message", "-p", "#{cursor_y}"))]

    def until(self, seen: str | Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for a text in the pane, or for a condition."""
        deadline = time.monotonic() + patience
        while not (seen in self.text() if isinstance(seen, str) else seen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text()}")
            select.select([], [], [], LOOK)

    def press(self, *keys: str) -> None:
        """Send keys, or plain text."""
        for key in keys:
            before = self._state()
            self._run("send-keys", *([KEYS[key]] if key in KEYS else ["-l", key]))
            select.select([], [], [], 0.2 if key == "escape" else 0.03)
            if key == "escape":
                # A lone Esc is told from a sequence by what follows within a moment: let it be read before that.
                self._change_from(before)

    def step(self, key: str) -> None:
        """Press a key and wait briefly until it has moved the cursor or changed the pane."""
        before = self._state()
        self.press(key)
        self._change_from(before)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing has changed for a moment."""
        before = ""
        while before != (before := self._state()):
            select.select([], [], [], SILENCE)

    def _state(self) -> str:
        return self._run("display-message", "-p", "#{cursor_x},#{cursor_y}") + self.text()

    def _change_from(self, before: str) -> None:
        """Wait, for a moment at most, until the cursor or the pane differs from what it was."""
        deadline = time.monotonic() + MOMENT
        while self._state() == before and time.monotonic() < deadline:
            select.select([], [], [], LOOK)

    def kill(self) -> None:
        """`tmux kill-session`: the pane's terminal disappears immediately, and the server with its last session.

        Returns when the server has ended: one that is about to end still accepts the next session, and drops it.
        """
        asked = self._attempt("display-message", "-p", "#{pid}")
        if asked.returncode == 0:
            server = os.pidfd_open(int(asked.stdout))
            self._attempt("kill-session")
            ended, _, _ = select.select([server], [], [], PATIENCE)
            os.close(server)
            assert ended, "the server of tmux did not end"

    def _attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, check=False, timeout=60
        )
