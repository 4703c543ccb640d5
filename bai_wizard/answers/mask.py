"""Quoting a line of the answers beside a problem without ever showing a secret.

Secrets do not belong into the file, but people put them there; exactly then there is a problem to quote.
So this hides rather too much: whatever follows a word that looks like a secret's key, misspelt ones too.
"""

from __future__ import annotations

import re

from bai_wizard.answers.positions import lines_inside_text
from bai_wizard.core.secret import MASK

_WORDS = r"(?i:pa+s+|pw|psw|secret|token|hash|cred|\benv\b)"
_SECRETIVE = re.compile(_WORDS)
_SECRET_KEY = re.compile(rf"{_WORDS}[^=]*=")
_SECRET_WITHOUT_SIGN = re.compile(rf"({_WORDS}[\w-]*)[^=]*$")
_SECRET_COMMENT = re.compile(rf"#[^\"']*{_WORDS}.*$")
_ANY_KEY = re.compile(r"""^[ \t]*(?:\[|(?:[\w.-]+|"[^"]*"|'[^']*')(?:[ \t]*\.[ \t]*[\w"'-]+)*[ \t]*=)""")
# What stands before a name in `[a.b]` or `[[a.b]]`.
_HEADER = re.compile(r"""^[ \t]*\[\[?[\w \t."'-]*$""")
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s\"']*(?=@)")
# Enough to recognise a line; terminals have 80 columns.
_LONGEST = 160


def is_secretive(key: object) -> bool:
    """True for a key whose value is not shown."""
    return isinstance(key, str) and _SECRETIVE.search(key) is not None


def masked_urls(text: str) -> str:
    """`text` without user and password in addresses."""
    return _URL_PASSWORD.sub(MASK, text)


class Quoter:
    """Quotes lines of a valid document."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._inside = lines_inside_text(text)

    def quote(self, line: int, *, hide_from: int = 0) -> str:
        """The line as shown. From the column `hide_from` (0: none) on, the value is hidden."""
        return MASK if line in self._inside else _quoted(self._lines, line, hide_from)


def quote_broken(text: str, line: int) -> str:
    """A line of a text that is no valid TOML: hidden as a whole where it may go on with a secret's value."""
    lines = text.split("\n")[:line]
    above = "\n".join(lines[:-1])
    if _SECRET_KEY.search(above) and ('"""' in above or "'''" in above):
        return MASK
    for number in range(len(lines) - 1, -1, -1):
        if number < len(lines) - 1 and _SECRET_KEY.search(lines[number]):
            return MASK
        if _ANY_KEY.match(lines[number]):
            break
    # Without '=' behind it, anything behind the key may be the secret.
    shown = _SECRET_WITHOUT_SIGN.sub(rf"\1 {MASK}", lines[-1])
    return _quoted([*lines[:-1], shown], line, 0)


def _quoted(lines: list[str], line: int, hide_from: int) -> str:
    if not 1 <= line <= len(lines):
        return ""
    shown = lines[line - 1]
    if hide_from and not _HEADER.match(shown[: hide_from - 1]):
        sign = shown.find("=", hide_from - 1)
        shown = f"{shown[: sign + 1]} {MASK}" if sign >= 0 else MASK
    match = _SECRET_KEY.search(shown)
    if match:
        shown = f"{shown[: match.end()]} {MASK}"
    shown = _SECRET_COMMENT.sub(f"# {MASK}", masked_urls(shown))
    shown = "".join(letter if letter.isprintable() else " " for letter in shown).strip()
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
