"""A real terminal for tests: a child on a pseudo-terminal, with a terminal emulator for its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

PATIENCE = 40.0
MOMENT = 3.0
SILENCE = 0.2
KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "space": " ",
    "backspace": "\x7f",
    "ctrl+c": "\x03",
}


def planned(text: Callable[[], str]) -> Callable[[], bool]:
    """Return whether the sidebar shows a page with planned changes."""
    return lambda: re.search(r"\d changes?\b", text()) is not None


class Terminal:
    """A command on its own terminal. `recorded`: its output with the time of each part in seconds."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        size: tuple[int, int] = (80, 24),
        environment: Mapping[str, str] | None = None,
        directory: str = ".",
    ) -> None:
        self.size = size
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.recorded: list[tuple[float, bytes]] = []
        self.status: int | None = None
        self._begun = time.monotonic()
        variables = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        variables.update(environment or {})
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(argv[0], list(argv), variables)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def read(self, seconds: float = 0.05) -> bool:
        """Read output for up to this time; return False if the child has closed its side."""
        ready, _, _ = select.select([self._fd] if self._fd >= 0 else [], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.recorded.append((time.monotonic() - self._begun, data))
        # A private response of terminals that pyte does not know and would show as text.
        self._stream.feed(data.replace(b"\x1b[?2026$p", b"").replace(b"\x1b[?2048$p", b""))
        return bool(data)

    def text(self) -> str:
        """Return the text on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def row(self) -> str:
        """Return the line of the cursor."""
        return self.screen.display[self.screen.cursor.y]

    def until(self, seen: str | Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for a text on the screen, or for a condition."""
        deadline = time.monotonic() + patience
        while not (seen in self.text() if isinstance(seen, str) else seen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text()}")
            if not self.read():
                if isinstance(seen, str) and seen in self.text():
                    return
                raise AssertionError(f"ended before it came: {seen}\n{self.text()}")

    def press(self, *keys: str) -> None:
        """Send keys, or plain text."""
        for key in keys:
            before = self._state()
            os.write(self._fd, KEYS.get(key, key).encode())
            self.read(0.15 if key == "escape" else 0.03)
            if key == "escape":
                # A lone Esc is told from a sequence by what follows within a moment: let it be read before that.
                self._change_from(before)

    def step(self, key: str) -> None:
        """Press a key and wait briefly until it has moved the cursor or changed the screen."""
        before = self._state()
        self.press(key)
        self._change_from(before)
        self.settle()

    def _state(self) -> tuple[int, int, str]:
        return self.screen.cursor.x, self.screen.cursor.y, self.text()

    def _change_from(self, before: tuple[int, int, str]) -> None:
        """Wait, for a moment at most, until the cursor or the screen differs from what it was."""
        deadline = time.monotonic() + MOMENT
        while self._state() == before and time.monotonic() < deadline and self.read():
            pass

    def settle(self, silence: float = SILENCE) -> None:
        """Wait for that many seconds without output: a frame arrives in parts, with cursor movements."""
        came = -1
        while came != len(self.recorded):
            came = len(self.recorded)
            self.read(silence)

    def end(self, number: int | None = None) -> int:
        """Wait for the child, after a signal if one is given; return its status like a shell."""
        if self.status is not None:
            return self.status
        if number is not None:
            os.kill(self.pid, number)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                while self._fd >= 0 and self.read(0.0) and select.select([self._fd], [], [], 0)[0]:
                    pass
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
                return self.status
            self.read(0.05)
        self.kill()
        raise AssertionError(f"never ended\n{self.text()}")

    def hang_up(self) -> None:
        """Close the terminal: the kernel sends SIGHUP, and the child can neither read nor write."""
        os.close(self._fd)
        self._fd = -1

    def kill(self) -> None:
        """End the child immediately, as if the connection were lost."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = 128 + signal.SIGKILL
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def raw(self) -> bytes:
        """Return everything that was written to the terminal."""
        return b"".join(data for _, data in self.recorded)

    def modes(self) -> list[int]:
        """Return the terminal's settings from termios."""
        attributes = termios.tcgetattr(self._fd)
        return [int(value) for value in attributes[:4]]
