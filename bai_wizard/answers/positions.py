"""The position of each key of a TOML document: a small scanner, because tomllib does not report key positions.

It is run on documents that tomllib has accepted, and only if a position is needed.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

_THREE_BASIC = '"""'
_THREE_LITERAL = "'''"

Path = tuple[str | int, ...]
Position = tuple[int, int]

_BLANK = re.compile(r"[ \t]*")
_BRACKETS = re.compile(r"\[\[?")
_EQUALS = re.compile(r"=[ \t]*")
_GAP = re.compile(r"[ \t\r\n]*(?:#[^\n]*[ \t\r\n]*)*")
# Parts of keys, and single-line strings. Every loop below tries each character once; possessive quantifiers and
# atomic groups would be shorter, but Python before 3.11.5 has bugs in them.
_BASIC = r"""\"[^"\\\n]*(?:\\.[^"\\\n]*)*\""""
_LITERAL = r"'[^'\n]*'"
_KEY = re.compile(rf"[A-Za-z0-9_-]+|{_BASIC}|{_LITERAL}")
_ONE_LINE = re.compile(rf"{_BASIC}|{_LITERAL}")
# What closes a multi-line string, or escapes a quote in it.
_CLOSING = re.compile(r"""\\.|\"{3}""", re.DOTALL)
# A key, with or without its closing quote; a comment; the beginning of a multi-line string.
_OPEN_PART = rf"""(?:[A-Za-z0-9_-]+|{_BASIC}?|{_LITERAL}?)"""
_CHAIN = re.compile(rf"""#[^\n]*|\"{{3}}|'{{3}}|{_OPEN_PART}(?:[ \t]*\.[ \t]*{_OPEN_PART})*""")
# A value that is not quoted: a date and a time may have a blank between them.
_PLAIN = re.compile(r"(?:\d{4}-\d\d-\d\d (?=\d\d:))?[^\s,\]}#]+")


def positions(text: str) -> dict[Path, Position]:
    """Line and column, both from 1, of every key and list element of the document.

    A table is located where its name first appears; a list element where it begins.
    Raises ValueError if the text is not TOML after all.
    """
    return _Scanner(text).document()


def positions_and_lines_inside(text: str) -> tuple[dict[Path, Position], frozenset[int]]:
    """Like `positions`, and the lines of the document that begin within a multi-line string."""
    scanner = _Scanner(text)
    return scanner.document(), frozenset(scanner.inside)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.positions: dict[Path, Position] = {}
        self.last: dict[Path, int] = {}
        self.inside: set[int] = set()
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> dict[Path, Position]:
        base: Path = ()
        self.take(_GAP)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                base = self.header()
            else:
                self.pair(base)
            self.take(_GAP)
        return self.positions

    def header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path that the following pairs belong to."""
        brackets = self.take(_BRACKETS)
        parts = self.key()
        self.at += len(brackets)
        path: Path = ()
        for index, (part, offset) in enumerate(parts):
            path = (*path, part)
            self.note(path, offset)
            if len(brackets) == 2 and index == len(parts) - 1:
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
        self.take(_EQUALS)
        self.value(path)

    def key(self) -> list[tuple[str, int]]:
        """A dotted key: its parts, unquoted, with their offsets. Blanks around it are skipped."""
        parts: list[tuple[str, int]] = []
        while not parts or self.skips("."):
            self.take(_BLANK)
            offset = self.at
            parts.append((_unquoted(self.take(_KEY)), offset))
            self.take(_BLANK)
        return parts

    def value(self, path: Path) -> None:
        if self.skips("["):
            self.take(_GAP)
            index = 0
            while not self.skips("]"):
                self.note((*path, index), self.at)
                self.value((*path, index))
                index += 1
                self.separator()
        elif self.skips("{"):
            self.take(_GAP)
            while not self.skips("}"):
                self.pair(path)
                self.separator()
        elif self.text.startswith(('"', "'"), self.at):
            first, _ = self.place(self.at)
            self.at = end_of_text(self.text, self.at)
            if self.at < 0:
                raise ValueError(f"the string in line {first} is not closed")
            self.inside.update(range(first + 1, self.place(self.at)[0] + 1))
        else:
            self.take(_PLAIN)

    def separator(self) -> None:
        self.take(_GAP)
        if self.skips(","):
            self.take(_GAP)

    def skips(self, sign: str) -> bool:
        """Skip the sign if it comes next."""
        if not self.text.startswith(sign, self.at):
            return False
        self.at += 1
        return True

    def take(self, pattern: re.Pattern[str]) -> str:
        """What comes next. Raises ValueError if the pattern does not match."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"not TOML at offset {self.at}")
        self.at = match.end()
        return match.group()

    def note(self, path: Path, offset: int) -> None:
        if path not in self.positions:
            self.positions[path] = self.place(offset)

    def place(self, offset: int) -> Position:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


def end_of_text(text: str, at: int) -> int:
    """The end of the string that begins with the quote at `at`; -1 if it is not closed."""
    opening = text[at : at + 3]
    if opening not in (_THREE_BASIC, _THREE_LITERAL):
        match = _ONE_LINE.match(text, at)
        return match.end() if match else -1
    end = text.find(opening, at + 3)
    if opening == _THREE_BASIC and end >= 0:
        end = next((match.start() for match in _CLOSING.finditer(text, at + 3) if match.group() == opening), -1)
    if end < 0:
        return -1
    # Up to two quotes before the closing three belong to the string.
    end += 3
    return end + (2 if text.startswith(opening[:2], end) else 1 if text.startswith(opening[:1], end) else 0)


def _unquoted(word: str) -> str:
    """The name that a part of a key denotes."""
    if word[0] not in "\"'":
        return word
    if word[0] == "'" or "\\" not in word:
        return word[1:-1]
    name: str = tomllib.loads(f"key = {word}")["key"]
    return name


def first_deep_key(text: str, limit: int) -> int | None:
    """The offset of the first dotted key of more than `limit` parts; None without such a key.

    The text need not be valid TOML. Keys after the place where a parser stops are not found reliably.
    """
    if all(line.count(".") < limit for line in text.split("\n")):
        return None
    at = 0
    while (match := _CHAIN.search(text, at)) is not None:
        word, at = match.group(), match.end()
        if word in (_THREE_BASIC, _THREE_LITERAL):
            at = end_of_text(text, match.start())
            if at < 0:
                return None
        elif word[0] != "#" and word.count(".") >= limit and len(_KEY.findall(word)) > limit:
            return match.start()
    return None
