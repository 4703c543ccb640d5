"""Where each key of a TOML document stands: a small scanner, for tomllib tells no positions.

It is run on documents that tomllib has accepted, and only when something has to be pointed at.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]
Position = tuple[int, int]

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}'''
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""",
    re.DOTALL,
)
_PLAIN = re.compile(r"(?:\d{4}-\d\d-\d\d(?: (?=\d\d:))?)?[^\s,\]}#]*")


def positions(text: str) -> dict[Path, Position]:
    """Line and column, both from 1, of every key and list element of the document.

    A table is where its name stands first; an element of a list is where it begins.
    Raises ValueError when the text is no TOML after all.
    """
    return _Scanner(text).document()


def lines_inside_text(text: str) -> frozenset[int]:
    """The lines of a document that begin within a text of several lines."""
    scanner = _Scanner(text)
    scanner.document()
    return frozenset(scanner.inside)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, Position] = {}
        self.last: dict[Path, int] = {}
        self.inside: set[int] = set()
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> dict[Path, Position]:
        base: Path = ()
        self.skip(_GAP)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                base = self.header()
            else:
                self.pair(base)
            self.skip(_GAP)
        return self.found

    def header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path that the following pairs belong to."""
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        parts = self.key()
        self.at += 2 if many else 1
        path: Path = ()
        for place, (part, offset) in enumerate(parts):
            path = (*path, part)
            self.note(path, offset)
            if many and place == len(parts) - 1:
                self.last[path] = self.last.get(path, -1) + 1
            if path in self.last:
                path = (*path, self.last[path])
                self.note(path, offset)
        return path

    def pair(self, base: Path) -> None:
        """`key = value` below `base`."""
        path = base
        for part, offset in self.key():
            path = (*path, part)
            self.note(path, offset)
        if not self.text.startswith("=", self.at):
            raise ValueError(f"no '=' at offset {self.at}")
        self.at += 1
        self.skip(_BLANK)
        self.value(path)

    def key(self) -> list[tuple[str, int]]:
        """A dotted key: its parts, unquoted, with their offsets. Blanks around it are skipped."""
        parts = []
        while True:
            self.skip(_BLANK)
            match = _KEY.match(self.text, self.at)
            if match is None:
                raise ValueError(f"no key at offset {self.at}")
            word = match.group()
            name = tomllib.loads(f"key = {word}")["key"] if word[0] in "\"'" else word
            parts.append((name, self.at))
            self.at = match.end()
            self.skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def value(self, path: Path) -> None:
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self.array(path)
        elif opening == "{":
            self.inline_table(path)
        else:
            match = (_STRING if opening in ('"', "'") else _PLAIN).match(self.text, self.at)
            if match is None or not match.group():
                raise ValueError(f"no value at offset {self.at}")
            first, _ = self.place(self.at)
            self.at = match.end()
            self.inside.update(range(first + 1, self.place(self.at)[0] + 1))

    def array(self, path: Path) -> None:
        self.at += 1
        self.skip(_GAP)
        place = 0
        while not self.closed("]"):
            self.note((*path, place), self.at)
            self.value((*path, place))
            place += 1
            self.separator()

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip(_GAP)
        while not self.closed("}"):
            self.pair(path)
            self.separator()

    def closed(self, bracket: str) -> bool:
        if self.at >= len(self.text):
            raise ValueError(f"no {bracket!r} before the end")
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def separator(self) -> None:
        self.skip(_GAP)
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip(_GAP)

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def note(self, path: Path, offset: int) -> None:
        if path not in self.found:
            self.found[path] = self.place(offset)

    def place(self, offset: int) -> Position:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1
