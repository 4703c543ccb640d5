"""Text of others made safe for display: without control characters, and as Markdown or HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO
from unicodedata import category

from bai_wizard.core.errors import OutputLost
from bai_wizard.core.secret import redact

# Everything else is checked character by character.
_NOT_PLAIN_ASCII = re.compile(r"[^\n\t -~]")
_JOINER = "\u200d"
_TEXT_STYLE, _EMOJI_STYLE = "\ufe0e", "\ufe0f"
_CONTEXTUAL = frozenset((_JOINER, _TEXT_STYLE, _EMOJI_STYLE))
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_IDEOGRAPHIC_SPACE = "\u3000"
# Letters and marks by category that are drawn as nothing (Unicode's Default_Ignorable_Code_Point).
_DRAWN_AS_NOTHING = frozenset(
    map(
        chr,
        (
            0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0,
            *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
        ),
    )
)  # fmt: skip


def visible(text: str, *, lines: bool = True) -> str:
    """Return `text` with everything escaped that is not plain text, as in `\\x1b[2J` and `\\u202e`.

    `lines` keeps line feeds and tabs. Pass False for a value within a line: it cannot start a new line.
    """
    if text.isascii() and text.isprintable():
        return text
    if lines and _NOT_PLAIN_ASCII.search(text) is None:
        return text
    kept = "\n\t" if lines else ""
    escaped = {character for character in set(text) if character not in kept and not _is_plain(character)}
    if not escaped:
        return text
    if _CONTEXTUAL.isdisjoint(escaped):
        return text.translate({ord(character): escape(character) for character in escaped})
    return "".join(
        escape(character) if character in escaped and not _is_part_of_emoji(text, index) else character
        for index, character in enumerate(text)
    )


def is_visible(text: str) -> bool:
    """Whether `text` is a single line that `visible` leaves unchanged."""
    return visible(text, lines=False) == text


def escape(character: str) -> str:
    """Return one character as Python writes it in a string: `\\x1b`, `\\u202e`, `\\U000e0041`."""
    return character.encode("unicode_escape").decode("ascii")


@lru_cache(4096)
def _is_plain(character: str) -> bool:
    if character in (" ", _IDEOGRAPHIC_SPACE):
        return True
    return category(character)[0] not in "CZ" and character not in _DRAWN_AS_NOTHING


def _is_part_of_emoji(text: str, index: int) -> bool:
    character, before, after = text[index], text[index - 1 : index], text[index + 1 : index + 2]
    if character == _JOINER:
        return _is_emoji(before) and _is_emoji(after)
    # A second selector is invisible and could hide data.
    return character in _CONTEXTUAL and bool(before) and category(before)[0] in "SPN"


def _is_emoji(character: str) -> bool:
    return bool(character) and (category(character) == "So" or character == _EMOJI_STYLE or character in _SKIN_TONES)


class VisibleStream:
    """A human-readable text stream; every write passes through `visible`, and otherwise it is the stream itself.

    With `narration` (standard error), output that cannot be written is dropped: it must not change how a command
    ends.
    """

    def __init__(self, stream: TextIO, *, narration: bool = False) -> None:
        self._stream = stream
        self._narration = narration

    def write(self, text: str) -> int:
        """Write the text, escaped, and return the number of characters of `text`.

        Characters that the stream's encoding lacks are escaped as well.
        """
        shown = visible(text)
        with self._lost():
            try:
                self._stream.write(shown)
            except UnicodeEncodeError:
                encoding = self._stream.encoding
                self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def write_rendered(self, text: str) -> None:
        """Write text that was rendered for a terminal: its foreign parts are escaped, its escape codes are ours."""
        with self._lost():
            self._stream.write(text)

    def flush(self) -> None:
        """Raises OutputLost, BrokenPipeError."""
        with self._lost():
            self._stream.flush()

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._narration:
                return
            if isinstance(error, BrokenPipeError):
                raise
            reason = (error.strerror or str(error)).lower()
            raise OutputLost(f"standard output cannot be written: {reason}") from error

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_MARKDOWN = str.maketrans(
    {"\\": "\\\\", "`": "\\`", "[": "\\[", "]": "\\]", "|": "\\|", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
# At the beginning of an item these would make it a heading, a list or a rule.
_BLOCK = ("#", "-", "+", "=", "~")


def markdown_text(text: str) -> str:
    """Escape text for a paragraph, heading, list item or table cell."""
    safe = _one_line(text).translate(_MARKDOWN)
    return f"\\{safe}" if safe.startswith(_BLOCK) else safe


def markdown_code(text: str) -> str:
    """Format text as inline code."""
    safe = _one_line(text).replace("`", "'")
    return f"`{safe}`"


def markdown_fence(lines: list[str], language: str = "") -> list[str]:
    """Format lines as a code block, with a fence longer than any in them."""
    text = visible(redact("\n".join(lines)))
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", text, fence]


def html_text(text: str, *, lines: bool = False) -> str:
    """Escape text for the content of an element."""
    from html import escape

    return escape(visible(redact(text), lines=lines) if lines else _one_line(text))


def _one_line(text: str) -> str:
    return visible(" ".join(redact(text).split("\n")), lines=False)


def gauge(share: float, cells: int = 8) -> str:
    """A bar of this many cells that shows a share between 0 and 1, such as `▮▮▯▯▯▯▯▯`."""
    full = round(max(0.0, min(1.0, share)) * cells)
    return "▮" * full + "▯" * (cells - full)
