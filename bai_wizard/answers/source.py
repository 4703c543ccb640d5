"""Read the text of an answers file within limits, parse it, and quote its lines without showing a secret."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import tomllib
from typing import Any, NoReturn

from bai_wizard.answers.positions import first_deep_key
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.core.secret import MASK, hide_urls
from bai_wizard.node.regular import PASSED_ON, read_up_to

_SECRETIVE = re.compile(r"(?i:pa+s+|pw|psw|secret|token|hash|cred|\benv\b)")
# A comment up to a quote, after which the `#` may have been inside a string.
_COMMENT = re.compile(r"""#[^"']*""")
_PART = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_ANY_KEY = re.compile(rf"""[ \t]*(?:\[|{_PART}(?:[ \t]*\.[ \t]*{_PART})*[ \t]*=)""")
# What precedes a name in `[a.b]` or `[[a.b]]`.
_HEADER = re.compile(r"""^[ \t]*\[\[?[\w \t."'-]*$""")
# Longer lines are cut before they are searched, and a value is not followed across more lines than this.
_LOOKED_AT = 2048
_LINES_ABOVE = 10_000
# Enough to recognize a line; terminals have 80 columns.
_LONGEST = 160


def is_secretive(key: object) -> bool:
    """Whether the value of a key must not be shown."""
    return isinstance(key, str) and _SECRETIVE.search(key) is not None


class Quoter:
    """Quote lines of a valid document; `inside` are the lines that begin within a multi-line string."""

    def __init__(self, text: str, inside: frozenset[int]) -> None:
        self._lines = text.split("\n")
        self._inside = inside
        self._cut: dict[int, str] = {}

    def quote(self, line: int, *, hide_from: int = 0) -> str:
        """The line as shown. From the column `hide_from` (0: none) on, the value is hidden."""
        if line in self._inside:
            return MASK
        if not 1 <= line <= len(self._lines):
            return ""
        if line not in self._cut:
            self._cut[line] = _cut(self._lines[line - 1])
        return _quoted(self._cut[line], hide_from)


def quote_broken(text: str, line: int) -> str:
    """Quote a line of a text that is not valid TOML: hidden entirely if it may continue a secret's value."""
    *lines, last = text.split("\n")[:line]
    above = "\n".join(lines)
    if _value_of_secret(above) >= 0 and ('"""' in above or "'''" in above):
        return MASK
    if not _ANY_KEY.match(last):
        for walked, other in enumerate(reversed(lines)):
            if walked == _LINES_ABOVE or _value_of_secret(other) >= 0:
                return MASK
            if _ANY_KEY.match(other):
                break
    return _quoted(_without_unassigned_secret(_cut(last)), 0)


def _value_of_secret(text: str) -> int:
    """The offset of the value of the first key that looks like a secret; -1 without such a key."""
    word = _SECRETIVE.search(text)
    sign = text.find("=", word.end()) if word else -1
    return sign + 1 if sign >= 0 else -1


def _without_unassigned_secret(line: str) -> str:
    """Hide everything after a secret's key that is not followed by '=': it may be the secret."""
    word = _SECRETIVE.search(line, line.rfind("=") + 1)
    if word is None:
        return line
    end = word.end()
    while end < len(line) and (line[end].isalnum() or line[end] in "_-"):
        end += 1
    return f"{line[:end]} {MASK}"


def _cut(line: str) -> str:
    """The part of a long line that is searched for secrets; masked if the line may contain a secret."""
    if len(line) <= _LOOKED_AT:
        return line
    return MASK if _SECRETIVE.search(line) or "@" in line or "?" in line else line[:_LOOKED_AT]


def _quoted(line: str, hide_from: int) -> str:
    shown = line
    if hide_from and not _HEADER.match(shown[: hide_from - 1]):
        sign = shown.find("=", hide_from - 1)
        shown = f"{shown[: sign + 1]} {MASK}" if sign >= 0 else MASK
    secret = _value_of_secret(shown)
    if secret >= 0:
        shown = f"{shown[:secret]} {MASK}"
    shown = _without_secret_comment(hide_urls(shown))
    shown = "".join(character if character.isprintable() else " " for character in shown).strip()
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def _without_secret_comment(line: str) -> str:
    for comment in _COMMENT.finditer(line):
        if _SECRETIVE.search(comment.group()):
            return f"{line[: comment.start()]}# {MASK}"
    return line


# Answers for a hundred nodes take about 50 kB; a larger file is something else.
LIMIT = 2**20
# Limits on the form of the file. tomllib's memory use grows with the square of the number of parts of a dotted key,
# and later code iterates over lines, keys and levels, so a small file could otherwise keep root busy or fill the
# memory.
LONGEST_LINE = 2**16
MAX_KEY_PARTS = 16
MAX_LEVELS = 32
# Keys, elements of lists and parts of dotted keys, counted by the characters that separate them.
MAX_VALUES = 50_000
SIGNS = "=.,[{"
# tomllib creates integers of any size, but Python refuses to convert more than 4300 digits (14,000 bits) to text.
MAX_BITS = 1024

# tomllib's messages, and their meaning for users who do not know the grammar. First match wins.
_PLAIN_WORDS = (
    ("Illegal character '\\n'", "the closing quote is missing on this line"),
    ("Invalid value", "invalid value: quote strings; booleans are true or false"),
    ("Cannot overwrite a value", "this key is defined twice"),
    ("Cannot declare", "this table is defined twice"),
    ("Cannot mutate immutable", "this table is already complete; nothing can be added to it"),
    ("Duplicate inline table key", "this key is defined twice"),
    ("Expected '=' after a key", "a key must be followed by '=' and a value"),
    ("Expected newline or end of document", "unexpected text after the value"),
    ("Unclosed array", "the list has no closing ']', or a comma is missing"),
    ("Unclosed inline table", "the table has no closing '}', or a comma is missing"),
    ("Invalid initial character for a key part", "expected a key"),
    ("Invalid statement", "expected a key or a table"),
    ("Unterminated string", "the closing quote is missing"),
    ("Unescaped '\\'", "double the backslash, or use single quotes"),
    ("Expected ']", "the table name has no closing ']'"),
    ("Invalid date or datetime", "invalid date"),
)


def name_of(path: str) -> str:
    """The name of the file in problems."""
    return "stdin" if path == "-" else path


def read(path: str, *, trusted_only: bool = False) -> str:
    """The text of the file; `-` is standard input. Raises AnswersError with the reason.

    With `trusted_only`, root refuses a file that other users can change: PreflightError.
    """
    name = name_of(path)
    data = _read_stdin() if path == "-" else _read_file(path, trusted_only)
    if len(data) > LIMIT:
        _refuse(name, f"exceeds the {LIMIT // 2**20} MiB limit")
    return _decode(name, data)


def parse(name: str, text: str) -> dict[str, Any]:
    """The document. Raises AnswersError with the line if it is not valid TOML or exceeds a limit."""
    _refuse_form(name, text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line, column = _where(str(error), text)
        words = next((plain for start, plain in _PLAIN_WORDS if message.startswith(start)), message)
        quoted = quote_broken(text, line)
        raise AnswersError([Problem(name, line, column, "", f"is not valid TOML: {words}", quoted)]) from None
    except RecursionError:
        _refuse(name, "is nested too deeply")
    except ValueError:
        # int() refuses thousands of digits, and tomllib passes that on without a position.
        _refuse(name, "is not valid TOML: a number has too many digits")
    _refuse_contents(name, document)
    return document


def _refuse_form(name: str, text: str) -> None:
    """Raise AnswersError for a text that would be too expensive to parse. The check itself is linear."""
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            _refuse(name, f"the line exceeds the limit of {LONGEST_LINE // 1024} KiB", number, 1)
    if sum(map(text.count, SIGNS)) > MAX_VALUES:
        _refuse(name, f"exceeds the limit of {MAX_VALUES} keys and values")
    deep = first_deep_key(text, MAX_KEY_PARTS)
    if deep is not None:
        column = deep - text.rfind("\n", 0, deep)
        _refuse(name, f"a key exceeds the limit of {MAX_KEY_PARTS} parts", text.count("\n", 0, deep) + 1, column)


def _refuse_contents(name: str, document: dict[str, Any]) -> None:
    """Raise AnswersError for values that are nested too deeply or too large to be processed."""
    level: list[Any] = [document]
    for _ in range(MAX_LEVELS + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, int) and value.bit_length() > MAX_BITS:
                _refuse(name, "is not valid TOML: a number has too many digits")
        level = below
        if not level:
            return
    _refuse(name, "is nested too deeply")


def _refuse(name: str, reason: str, line: int = 0, column: int = 0) -> NoReturn:
    raise AnswersError([Problem(name, line, column, "", reason)]) from None


def _read_stdin() -> bytes:
    if sys.stdin is None:
        _refuse("stdin", "is closed; give a file or pipe the answers in")
    try:
        return sys.stdin.buffer.read(LIMIT + 1)
    except (OSError, ValueError):
        _refuse("stdin", "cannot be read; give a file or pipe the answers in")


def _read_file(path: str, trusted_only: bool) -> bytes:
    try:
        handle = _open(path, trusted_only)
    except (OSError, ValueError) as error:
        _refuse(path, _why(error))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            _refuse(path, "is a directory, not a file")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            _refuse(path, "is not a regular file")
        data = read_up_to(handle, LIMIT + 1)
        if not data and stat.S_ISFIFO(mode):
            _refuse(path, "is a pipe without any input")
        return data
    except OSError as error:
        _refuse(path, _why(error))
    except ValueError as error:
        _refuse(path, str(error))
    finally:
        os.close(handle)


def _open(path: str, trusted_only: bool) -> int:
    if trusted_only and os.geteuid() == 0 and "\0" not in path and not PASSED_ON.fullmatch(path):
        from bai_wizard.node.safe_path import Trust

        return Trust().open(path)
    # O_NONBLOCK: a named pipe without a writer must not hang the wizard.
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


_WHY = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "cannot be read: permission denied; run as root or as the owner of the file",
    errno.EPERM: "cannot be read: permission denied; run as root or as the owner of the file",
    errno.ELOOP: "cannot be read: too many levels of symbolic links",
    errno.ENOTDIR: "does not exist: a component of the path is not a directory",
    errno.EISDIR: "is a directory, not a file",
    errno.ENXIO: "is not a regular file",
}


def _why(error: OSError | ValueError) -> str:
    code = (error.errno or 0) if isinstance(error, OSError) else 0
    other = f"cannot be read: {os.strerror(code) if code else 'the name is not a valid path'}"
    return _WHY.get(code, other)


def _decode(name: str, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _refuse(name, "is encoded in UTF-16; save it as UTF-8", 1, 1)
    if data.startswith(b"\xef\xbb\xbf"):
        _refuse(name, "begins with a byte order mark; save it as UTF-8 without one", 1, 1)
    if b"\0" in data:
        _refuse(name, "contains a NUL byte; this is not a text file", *_place(data, data.index(b"\0")))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        _refuse(name, reason, *_place(data, error.start))


def _place(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte, both from 1; undecodable bytes count as characters."""
    line_start = data.rfind(b"\n", 0, offset) + 1
    return data.count(b"\n", 0, offset) + 1, len(data[line_start:offset].decode(errors="replace")) + 1


def _where(message: str, text: str) -> tuple[str, int, int]:
    """The message without its position, line and column (tomllib has them as attributes only from Python 3.14)."""
    body, _, location = message.rpartition(" (at ")
    words = location.rstrip(")").split()
    if location.startswith("line "):
        return body, int(words[1].rstrip(",")), int(words[3])
    lines = text.split("\n")
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    return body or message, last, len(lines[last - 1].rstrip()) + 1
