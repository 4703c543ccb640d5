"""Generate `screenshots/run.cast`: a whole run on the bare demo node, recorded on a real pseudo-terminal.

Run it from the repository: `python -m tests.tools.make_recording`; play it with `asciinema play`, or with the
small player of `python -m tests.tools.make_recording play`. The format is asciicast v2: a line of JSON as the head,
then one line each of [seconds, "o", text].
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyte
from pyte.screens import Char

from tests.tui.terminal import Terminal, planned

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "screenshots" / "run.cast"
SIZE = (100, 30)
# Prepared answers, so that the recording does not show every key.
ANSWERS = """\
version = 1
[node]
roles = ["compute"]
backend_ai = "26.4"
[account]
sudo = "nopasswd"
[docker]
[tuning]
[python]
[aliases]
hosts = [ { ip = "10.20.30.10", names = ["bai-m1"], comment = "management node 01" } ]
[storage]
volumes = [ { name = "local", type = "local" } ]
[accelerators.nvidia]
[images]
"""
# Minimum number of seconds between two frames: the file stays small, without a visible difference.
FRAME = 0.3
# Longer pauses are shortened to this many seconds.
SILENCE = 1.5
STYLES = {"bold": "1", "italics": "3", "underscore": "4", "reverse": "7"}
NAMED = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
# Seconds that a person looks at a page before the next key.
LOOK = 0.8


def record() -> list[tuple[float, bytes]]:
    """Record a whole session: the pages, the review, the run, its result, and what can be undone."""
    with tempfile.TemporaryDirectory() as location:
        answers = Path(location, "answers.toml")
        answers.write_text(ANSWERS)
        words = ["-m", "bai_wizard", "--demo", "bare", "--answers", str(answers)]
        one = Terminal([sys.executable, *words], size=SIZE, directory=str(REPOSITORY))
        try:
            _walk(one)
            one.end()
        finally:
            one.kill()
        return one.recorded


def _walk(one: Terminal) -> None:
    one.until(planned(one.text))
    one.until(lambda: "checking" not in one.text())
    for _ in range(8):
        one.step("down")
        _look(one)
    one.press("A")
    one.until(" on gpu01")
    one.until("[ Apply ]")
    _look(one)
    one.press("end", "down")
    _look(one)
    one.press("enter")
    one.until("Run 20")
    one.until("Save report", patience=300)
    _look(one)
    _look(one)
    one.press("escape")
    one.until("up to date")
    _look(one)
    one.press("q")


def _look(one: Terminal) -> None:
    deadline = time.monotonic() + LOOK
    while time.monotonic() < deadline:
        one.read()


def frames(recorded: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    """Record changes of the screen several times a second; shorten pauses."""
    screen = pyte.Screen(*SIZE)
    stream = pyte.ByteStream(screen)
    shown: dict[int, list[Char]] = {}
    at = before = begun = 0.0
    for moment, data in recorded:
        if moment - begun > FRAME:
            text = _difference(screen, shown)
            if text:
                at += min(SILENCE, begun - before)
                before = begun
                yield at, text
            begun = moment
        stream.feed(data.replace(b"\x1b[?2026$p", b"").replace(b"\x1b[?2048$p", b""))
    yield at + FRAME, _difference(screen, shown)


def _difference(screen: pyte.Screen, shown: dict[int, list[Char]]) -> str:
    """Return the output that updates a terminal from these lines to the screen, and update the lines."""
    parts = []
    for row in range(screen.lines):
        line = [screen.buffer[row][column] for column in range(screen.columns)]
        old = shown.get(row) or [screen.default_char] * screen.columns
        changed = [column for column, (one, other) in enumerate(zip(line, old, strict=True)) if one != other]
        if changed:
            parts.append(f"\x1b[{row + 1};{changed[0] + 1}H" + _drawn(line[changed[0] : changed[-1] + 1]))
            shown[row] = line
    if not parts:
        return ""
    return "".join(parts) + f"\x1b[{screen.cursor.y + 1};{screen.cursor.x + 1}H"


def _drawn(cells: Sequence[Char]) -> str:
    """Return cells with their colors, which are written only if they change."""
    parts, before = [], ""
    for cell in cells:
        marks = [code for name, code in STYLES.items() if getattr(cell, name)]
        style = ";".join(["0", *marks, *_colour(cell.fg, 38), *_colour(cell.bg, 48)])
        if style != before:
            parts.append(f"\x1b[{style}m")
            before = style
        parts.append(cell.data)
    return "".join(parts) + "\x1b[0m"


def _colour(name: str, code: int) -> list[str]:
    if name == "default":
        return []
    if name in NAMED:
        return [str(code - 8 + NAMED.index(name))]
    return [f"{code};2;{';'.join(str(int(name[place : place + 2], 16)) for place in (0, 2, 4))}"]


def write(file: Path, recorded: Iterable[tuple[float, bytes]]) -> None:
    """Return the recording as asciicast v2."""
    width, height = SIZE
    head = {"version": 2, "width": width, "height": height, "title": "bai-wizard --demo bare"}
    events = [[round(at, 2), "o", text] for at, text in frames(recorded)]
    lines = [json.dumps(each, ensure_ascii=False) for each in (head, *events)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def play(file: Path) -> None:
    """Play a recording on this terminal."""
    begun = time.monotonic()
    for line in file.read_text(encoding="utf-8").splitlines()[1:]:
        at, _, text = json.loads(line)
        time.sleep(max(0.0, begun + at - time.monotonic()))
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["play"]:
        play(FILE)
    else:
        write(FILE, record())
        print(FILE, FILE.stat().st_size, "bytes")
