"""Random input for the full screen on a real pseudo-terminal, repeatable by a seed.

Pilot waits for each key, so it never sees a widget that is removed between two events. This does: keys, mouse,
pastes, resizes and broken escape sequences arrive as fast as the child reads them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.tui.terminal import KEYS, Terminal

REPOSITORY = Path(__file__).parents[2]
NODES = ("bare", "half", "broken", "finished")
FLAGS: tuple[tuple[str, ...], ...] = ((), (), (), ("--ascii",), ("--lang", "ko"))
# Sizes in columns and rows, from one character to a large monitor; a session begins with one that people use.
MIN, MAX = (1, 1), (200, 50)
BEGIN = (20, 8)
# A child hangs that does nothing visible in so many seconds of its own processor time, or of the clock.
HANG_BUSY, HANG = 20.0, 120.0
# A sitting that lasts so many seconds is ended, and another one is begun.
SITTING = 40.0

MORE_KEYS = {
    "f1": "\x1bOP", "page up": "\x1b[5~", "page down": "\x1b[6~", "delete": "\x1b[3~", "insert": "\x1b[2~",
    "shift+tab": "\x1b[Z", "ctrl+p": "\x10", "ctrl+u": "\x15", "ctrl+a": "\x01", "ctrl+k": "\x0b",
    "ctrl+z": "\x1a", "ctrl+w": "\x17", "alt+x": "\x1bx", "shift+up": "\x1b[1;2A", "shift+right": "\x1b[1;2C",
    "ctrl+left": "\x1b[1;5D", "ctrl+home": "\x1b[1;5H", "f5": "\x1b[15~", "question": "?",
}  # fmt: skip
ALL_KEYS = {**KEYS, **MORE_KEYS}
# Keys that walk and open come more often than the rest, and those that end the wizard less often.
WALKING = ("up", "down", "left", "right", "enter", "space", "tab", "escape")
COMMANDS = "aAdlsxpvfck/?+-0123456789"
WORDS = (
    "bai", "~bai/answers.toml", "~", "~root", "/etc/hosts", "management node", "10.0.0.1 m1 # first", "x" * 300,
    "a\0b", "q", "b", "../..", "/root/x/y", "26.4", "-1", "true", "'", '"', "[[", "100%", "한국어", "🙂🙃", "שלום",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt", "e\N{COMBINING ACUTE ACCENT}", "表ポあA鷗", "\N{ZERO WIDTH JOINER}",
)  # fmt: skip
BROKEN = (
    b"\x1b[", b"\x1b[<0;", b"\x1b[<0;999999999;999999999M", b"\x1b[<99;-1;-1m", b"\xff\xfe", b"\xe4\xf6",
    b"\x1b]0;x\x07", b"\x1b[200~", b"\x1b[201~", b"\x1b[1;1R", b"\x1b[I", b"\x1b[O", b"\x00", b"\x9b31m",
    b"\xed\xa0\x80", b"\x1b\x1b\x1b", b"\x1b[9999999999u", b"\x1b[1114112u", b"\x1b[48;24;80;0;0t",
    b"\x1b[48;0;0;0;0t", b"\x1b[?2048;1$y", b"\x1bP+r\x1b\\",
)  # fmt: skip


class Death(NamedTuple):
    """How a session failed, and its last input."""

    sitting: str
    reason: str
    events: list[str]
    message: str

    def __str__(self) -> str:
        return f"{self.sitting}: {self.reason}\nlast events: {'; '.join(self.events)}\n{self.message}"


class Patience:
    """How long to wait for a child: measured in its CPU time, because the machine may be busy."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._until = time.monotonic() + HANG
        self._spent = self._used()

    def _used(self) -> float:
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lasts(self) -> bool:
        """Return False at the end."""
        return time.monotonic() < self._until and self._used() - self._spent < HANG_BUSY


class Event(NamedTuple):
    """Bytes, or a new size, and the number of seconds after it."""

    name: str
    data: bytes = b""
    size: tuple[int, int] | None = None
    pause: float = 0.0


class Dumb(Terminal):
    """A terminal without emulation, which would take more time than everything else."""

    tail = b""

    def silence(self) -> None:
        """Turn off the terminal's echo, which would hide the last output of a child."""
        modes = termios.tcgetattr(self._fd)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._fd, termios.TCSANOW, modes)

    def abort(self) -> None:
        """End a hanging child; with PYTHONFAULTHANDLER it prints where it hangs."""
        if not self.is_gone():
            self.tail = b""
            os.kill(self.pid, signal.SIGABRT)
            ends(self)

    def read(self, seconds: float = 0.05) -> bool:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False
        self.came += len(data)
        self.tail = (self.tail + data)[-65536:]
        return bool(data)

    came = 0

    def send(self, data: bytes) -> bool:
        """Write everything while reading: the child stops reading if its own output is not read."""
        os.set_blocking(self._fd, False)
        patience = Patience(self.pid)
        while data and patience.lasts():
            if not self.read(0.0):
                return False
            _, writable, _ = select.select([], [self._fd], [], 0.05)
            if writable:
                try:
                    data = data[os.write(self._fd, data[:1024]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    return False
        return not data

    def resize(self, size: tuple[int, int]) -> None:
        """Resize the terminal and send the signal."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.size = size

    def is_gone(self) -> bool:
        """Return whether the child has ended, and store its status."""
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
        return self.status is not None

    def message(self) -> str:
        """Return the last output without cursor movements."""
        text = self.tail.decode(errors="replace")
        begins = [text.find(words) for words in ("Traceback", "Fatal Python error") if words in text]
        text = text[min(begins, default=-600) :]
        return re.sub(r"\x1b[\[\]()?][0-9;:<>=?]*[A-Za-z~]?", "", text)[:3500]


class Masher:
    """A stream of random events from a seed."""

    def __init__(self, seed: str, size: tuple[int, int] = (80, 24)) -> None:
        self._random = random.Random(seed)
        self.size = self.begin = size

    def events(self) -> Iterator[Event]:
        """Events without end."""
        kinds = {
            self.keys: 30, self.commands: 8, self.words: 8, self.clicks: 14, self.drag: 3, self.paste: 3,
            self.burst: 3, self.resize: 6, self.storm: 3, self.broken: 3, self.recipe: 14, self.leave: 1,
        }  # fmt: skip
        while True:
            (kind,) = self._random.choices(list(kinds), list(kinds.values()))
            yield from kind()

    def pause(self, limit: float = 0.12) -> float:
        """Mostly no pause, sometimes one that is long enough for everything to finish."""
        return self._random.choice((0.0, 0.0, 0.0, 0.005, 0.02, limit))

    def key(self, name: str) -> Event:
        """One key."""
        return Event(name, ALL_KEYS.get(name, name).encode(), pause=self.pause())

    def keys(self) -> Iterator[Event]:
        """A few keys, most of them walking."""
        for _ in range(self._random.randint(1, 8)):
            yield self.key(self._random.choice(WALKING if self._random.random() < 0.75 else tuple(MORE_KEYS)))

    def commands(self) -> Iterator[Event]:
        """A letter that is a command somewhere."""
        yield self.key(self._random.choice(COMMANDS))

    def words(self) -> Iterator[Event]:
        """A word typed in one go, and perhaps Enter."""
        word = self._random.choice(WORDS)
        yield Event(f"type {word[:20]!r}", word.encode(), pause=self.pause())
        if self._random.random() < 0.5:
            yield self.key("enter")

    def place(self) -> tuple[int, int]:
        """A cell of the screen, rarely beside it."""
        if self._random.random() < 0.05:
            return self._random.randint(1, 300), self._random.randint(1, 100)
        return self._random.randint(1, self.size[0]), self._random.randint(1, self.size[1])

    def mouse(self, button: int, path: tuple[int, int], end: str = "M") -> Event:
        """Mouse reports of a terminal."""
        return Event(f"mouse {button}{end} {path}", f"\x1b[<{button};{path[0]};{path[1]}{end}".encode())

    def click(self, path: tuple[int, int]) -> Iterator[Event]:
        """Press and release."""
        yield self.mouse(0, path)
        yield self.mouse(0, path, "m")._replace(pause=self.pause())

    def clicks(self) -> Iterator[Event]:
        """Clicks, wheel and moves: most on the list of pages and then in the page that just opens."""
        for _ in range(self._random.randint(1, 6)):
            if self._random.random() < 0.5:
                yield from self.click((self._random.randint(2, 14), self._random.randint(2, 18)))
                yield from self.click((self._random.randint(30, 75), self._random.randint(2, 20)))
            elif self._random.random() < 0.4:
                yield self.mouse(self._random.choice((64, 65)), self.place())
            else:
                yield from self.click(self.place())

    def drag(self) -> Iterator[Event]:
        """Press, move, release: a selection."""
        yield self.mouse(0, self.place())
        for _ in range(self._random.randint(1, 10)):
            yield self.mouse(32, self.place())._replace(pause=self.pause())
        if self._random.random() < 0.9:
            yield self.mouse(0, self.place(), "m")
        for _ in range(self._random.randint(0, 5)):
            yield self.mouse(35, self.place())

    def text(self) -> str:
        """Up to 10,000 characters of everything."""
        length = self._random.choice((1, 5, 80, 2000, 10_000))
        sort = self._random.randrange(5)
        pool = (
            "abc xyz09-_.,;=",
            "漢字ｶﾅ한글表示",
            "🙂👩\N{ZERO WIDTH JOINER}🚀🇰🇷",
            "שלום\N{RIGHT-TO-LEFT MARK}مرحبا",
            "\x1b[]\\\x00\x07\r\n\tq",
        )
        text = "".join(self._random.choices(pool[sort] + self._random.choice(("", "\n", "\r\n")), k=length))
        return (
            "".join(f"10.0.0.{n % 255} bai-m{n}\n" for n in range(length // 10))
            if length > 80 and sort == 0
            else text
        )

    def paste(self) -> Iterator[Event]:
        """Text between the marks of a bracketed paste."""
        text = self.text()
        yield Event(f"paste {len(text)}", b"\x1b[200~" + text.encode() + b"\x1b[201~", pause=self.pause())

    def burst(self) -> Iterator[Event]:
        """The same from a terminal that knows no bracketed paste."""
        text = self.text()
        yield Event(f"burst {len(text)}", text.encode(), pause=self.pause())

    def new_size(self) -> tuple[int, int]:
        """Any size, small ones more often."""
        if self._random.random() < 0.4:
            return self._random.randint(MIN[0], 30), self._random.randint(MIN[1], 10)
        return self._random.randint(MIN[0], MAX[0]), self._random.randint(MIN[1], MAX[1])

    def resize(self) -> Iterator[Event]:
        """Another size."""
        self.size = self.new_size()
        yield Event(f"resize {self.size}", size=self.size, pause=self.pause())

    def storm(self) -> Iterator[Event]:
        """Many sizes at once, with keys between them."""
        for _ in range(self._random.randint(5, 20)):
            yield from self.resize()
            if self._random.random() < 0.3:
                yield self.key(self._random.choice(WALKING))
        self.size = self.begin
        yield Event("resize back", size=self.size, pause=self.pause())

    def broken(self) -> Iterator[Event]:
        """Input that no terminal should send."""
        data = self._random.choice(BROKEN)
        yield Event(f"bytes {data!r}", data, pause=self.pause())

    def recipe(self) -> Iterator[Event]:
        """A path through the dialogs that random keys rarely find, cut short anywhere."""
        recipes: tuple[tuple[str, ...], ...] = (
            ("s", "ctrl+u", "~bai/answers.toml", "enter", "enter"),
            ("s", "ctrl+u", "x" * 300, "enter"),
            ("s", "enter", "enter", "enter"),
            ("A", "s", "enter", "enter"),
            ("A", "end", "down", "enter", "enter", "escape"),
            ("a", "end", "down", "enter"),
            ("ctrl+p", "page up", "page up"),
            ("ctrl+p", "f1", "page up", "escape"),
            ("ctrl+p", "quit", "escape", "enter"),
            ("ctrl+p", "ctrl+p", "escape", "escape"),
            ("ctrl+p", self._random.choice(("page", "log", "past", "trouble", "colours", "save")), "down", "enter"),
            ("f1", "f1", "escape", "escape"),
            ("d", "d", "d"),
            ("l", "l", "l", "tab", "/", "error", "enter"),
            ("escape", "home", "down", "right", "end", "enter", "down", "enter", "escape"),
            ("escape", "end", "up", "up", "enter", "enter", "down", "enter"),
            ("escape", "end", "up", "up", "up", "up", "enter", "enter", "tab", "tab", "enter"),
            ("escape", "home", "down", "right", *["down"] * 13, "enter", "secret1", "enter", "secret2", "enter"),
            ("escape", "home", *["down"] * 4, "right", "enter", "10.0.0.1", "tab", "m1", "tab", "tab", "enter"),
            ("escape", "n", "26.4", "enter", "escape", "n", "down", "enter", "down", "enter", "secret1", "enter"),
            ("escape", "5", "enter", "10.0.0.1", "enter", "m1", "tab", "tab", "tab", "enter", "delete"),
            ("escape", "6", "enter", "tab", "local", *["tab"] * 6, "enter", "N", "n"),
            ("escape", "A", "tab", "enter", "l", "o", "enter"),
            ("escape", self._random.choice("012345678"), "a", "tab", "enter", "l", "l"),
            ("q", "escape"),
        )
        recipe = self._random.choice(recipes)
        for key in recipe[: self._random.randint(1, len(recipe))]:
            yield self.key(key)
        if self._random.random() < 0.3:
            yield from self.storm()

    def leave(self) -> Iterator[Event]:
        """Input that can end the application."""
        yield self.key(self._random.choice(("q", "ctrl+c", "\x11")))


def sit(seed: str, seconds: float = SITTING) -> tuple[int, Death | None]:
    """Run one session; return the number of events, and how it failed, if it did."""
    chance = random.Random(seed)
    number = seed.rpartition(":")[2]
    # All nodes in turn, so that a short run does not miss one.
    node = NODES[int(number) % len(NODES)] if number.isdecimal() else chance.choice(NODES)
    flags = chance.choice(FLAGS)
    size = chance.randint(BEGIN[0], MAX[0]), chance.randint(BEGIN[1], MAX[1])
    message = f"seed {seed}, --demo {node} {' '.join(flags)}, {size[0]}×{size[1]}"
    with tempfile.TemporaryDirectory() as location:
        environment = {"HOME": location, "XDG_STATE_HOME": f"{location}/state", "PYTHONPATH": str(REPOSITORY)}
        environment["PYTHONFAULTHANDLER"] = "1"
        argv = [sys.executable, "-m", "bai_wizard", "--demo", node, *flags]
        one = Dumb(argv, size=size, environment=environment, directory=location)
        one.silence()
        last: list[str] = []
        count = 0

        def dead(reason: str) -> Death:
            one.abort()
            return Death(message, reason, last[-25:], one.message())

        try:
            deadline = time.monotonic() + seconds
            for event in Masher(seed, size).events():
                count += 1
                last.append(event.name)
                if event.size is not None:
                    one.resize(event.size)
                elif not one.send(event.data):
                    if not ends(one):
                        return count, dead("takes no input any more")
                    break
                one.read(event.pause)
                if one.is_gone():
                    break
                if time.monotonic() > deadline:
                    if not answers(one):
                        return count, dead("draws nothing after a resize")
                    break
            if not one.is_gone():
                os.kill(one.pid, signal.SIGTERM)
                if not ends(one):
                    return count, dead("does not end at SIGTERM")
            while one.read(0.1) and select.select([one._fd], [], [], 0)[0]:
                pass
            if one.status not in (0, 130, 128 + signal.SIGTERM):
                return count, dead(f"ended with {one.status}")
            if b"Traceback" in one.tail:
                return count, dead("ended in order, but shows a traceback")
        except AssertionError as error:
            return count, dead(str(error)[:200])
        finally:
            one.kill()
    return count, None


def ends(one: Dumb) -> bool:
    """Return whether it ends by itself; read its output meanwhile."""
    patience = Patience(one.pid)
    while not one.is_gone() and patience.lasts():
        one.read(0.1)
    return one.is_gone()


def answers(one: Dumb) -> bool:
    """Whether it still draws: after a size that it did not have before. What was sent is worked off first."""
    patience = Patience(one.pid)
    sizes = ((80, 24), (100, 30))
    turn = 0
    while patience.lasts() and not one.is_gone():
        before = one.came
        turn += 1
        one.resize(sizes[turn % 2])
        one.read(0.5)
        if one.came > before:
            return True
    return one.is_gone()


def mash(seed: object, seconds: float) -> tuple[int, int, list[Death]]:
    """Run sessions for that many seconds; return the numbers of sessions and events, and the failures."""
    deadline = time.monotonic() + seconds
    deaths: list[Death] = []
    sittings = events = 0
    while (left := deadline - time.monotonic()) > 0:
        count, death = sit(f"{seed}:{sittings}", min(SITTING, max(5.0, left)))
        sittings += 1
        events += count
        if death is not None:
            deaths.append(death)
            print(f"\n{death}\n", flush=True)
    return sittings, events, deaths


def main() -> int:
    """`python -m tests.tui.random_input SEED [SECONDS]`; a seed with a colon, as a death names it, is one sitting."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("seed")
    parser.add_argument("seconds", type=float, nargs="?", default=60.0)
    given = parser.parse_args()
    if ":" in given.seed:
        count, death = sit(given.seed, given.seconds)
        print(f"{count} events", death or "survived")
        return int(death is not None)
    sittings, events, deaths = mash(given.seed, given.seconds)
    print(f"{sittings} sittings, {events} events, {len(deaths)} deaths")
    return int(bool(deaths))


if __name__ == "__main__":
    sys.exit(main())
