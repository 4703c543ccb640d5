"""Reading the answers file: bytes with limits, then text; whatever is wrong becomes a Problem with its line."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import tomllib
from typing import Any, NoReturn

from bai_wizard.answers.mask import quote_broken
from bai_wizard.core.errors import AnswersError, Problem

# Answers for a hundred nodes are some 50 kB; more than this is another file.
LIMIT = 2**20
# Seconds that a pipe may stay silent: `<(vault read …)` may ask a server first.
PIPE_DEADLINE = 30.0

# What tomllib says, and what it means to somebody who knows no grammar. First match wins.
_PLAIN_WORDS = (
    ("Illegal character '\\n'", "the text is not closed by a quote on this line"),
    ("Invalid value", "this is no value: texts stand in quotes, truth is written true or false"),
    ("Cannot overwrite a value", "this key is given twice"),
    ("Cannot declare", "this table is given twice"),
    ("Cannot mutate immutable", "this table is complete already and cannot be added to"),
    ("Duplicate inline table key", "this key is given twice"),
    ("Expected '=' after a key", "after a key there must be '=' and a value"),
    ("Expected newline or end of document", "there is something behind the value that does not belong there"),
    ("Unclosed array", "the list is not closed by ']', or a comma is missing"),
    ("Unclosed inline table", "the table is not closed by '}', or a comma is missing"),
    ("Invalid initial character for a key part", "a key is expected here"),
    ("Invalid statement", "a key or a table is expected here"),
    ("Unterminated string", "the text is not closed by a quote"),
    ("Unescaped '\\'", "a backslash must be doubled, or the text put into single quotes"),
    ("Expected ']", "the name of the table is not closed by ']'"),
    ("Invalid date or datetime", "this is no date"),
)


def name_of(path: str) -> str:
    """How the file is called in problems."""
    return "stdin" if path == "-" else path


def read(path: str) -> str:
    """The text of the file; `-` is standard input. Raises AnswersError with the reason."""
    name = name_of(path)
    data = _read_stdin() if path == "-" else _read_file(path)
    if len(data) > LIMIT:
        _refuse(name, f"is larger than {LIMIT // 2**20} MiB, which no answers file is")
    return _decode(name, data)


def parse(name: str, text: str) -> dict[str, Any]:
    """The document. Raises AnswersError with the line where it is not valid TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line, column = _where(str(error), text)
        words = next((plain for start, plain in _PLAIN_WORDS if message.startswith(start)), message)
        quoted = quote_broken(text, line)
        raise AnswersError([Problem(name, line, column, "", f"is not valid TOML: {words}", quoted)]) from None
    except RecursionError:
        _refuse(name, "is nested too deeply, which no answers file is")
    except ValueError:
        # int() refuses thousands of digits, and tomllib lets that through without a position.
        _refuse(name, "is not valid TOML: a number has too many digits")


def _refuse(name: str, reason: str) -> NoReturn:
    raise AnswersError([Problem(name, 0, 0, "", reason)]) from None


def _read_stdin() -> bytes:
    if sys.stdin is None:
        _refuse("stdin", "is closed; give a file or pipe the answers in")
    try:
        return sys.stdin.buffer.read(LIMIT + 1)
    except (OSError, ValueError):
        _refuse("stdin", "cannot be read; give a file or pipe the answers in")


def _read_file(path: str) -> bytes:
    try:
        # O_NONBLOCK: a named pipe without a writer must not hang the wizard.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        _refuse(path, _why(error))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            _refuse(path, "is a directory; name the file in it")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            _refuse(path, "is no regular file")
        data = _read_all(path, handle)
        if not data and stat.S_ISFIFO(mode):
            _refuse(path, "is a pipe into which nobody wrote anything")
        return data
    except OSError as error:
        _refuse(path, _why(error))
    finally:
        os.close(handle)


def _read_all(path: str, handle: int) -> bytes:
    pieces = []
    size = 0
    while size <= LIMIT:
        try:
            piece = os.read(handle, LIMIT + 1 - size)
        except BlockingIOError:
            # A pipe whose writer is still at work; one without a writer gives its end at once.
            if not select.select([handle], [], [], PIPE_DEADLINE)[0]:
                _refuse(path, f"sent nothing for {PIPE_DEADLINE:.0f} seconds")
            continue
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _why(error: OSError | ValueError) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOENT:
        return "does not exist"
    if code in (errno.EACCES, errno.EPERM):
        return "cannot be read: permission denied; run as root or as its owner"
    if code == errno.ELOOP:
        return "cannot be read: a chain of links without an end"
    if code == errno.ENOTDIR:
        return "does not exist: a part of the path is no directory"
    if code == errno.ENXIO:
        return "is no regular file"
    return f"cannot be read: {os.strerror(code) if code else 'the name is no valid path'}"


def _decode(name: str, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise AnswersError([Problem(name, 1, 1, "", "is encoded in UTF-16; save it as UTF-8")])
    if data.startswith(b"\xef\xbb\xbf"):
        reason = "begins with a byte order mark; save it as UTF-8 without one"
        raise AnswersError([Problem(name, 1, 1, "", reason)])
    if b"\0" in data:
        line, column = _place(data, data.index(b"\0"))
        raise AnswersError([Problem(name, line, column, "", "contains a NUL byte; this is no text file")])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        reason = f"is not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        raise AnswersError([Problem(name, line, column, "", reason)]) from None


def _place(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte, both from 1; the column counts characters as far as they can be told."""
    line_start = data.rfind(b"\n", 0, offset) + 1
    return data.count(b"\n", 0, offset) + 1, len(data[line_start:offset].decode(errors="replace")) + 1


def _where(message: str, text: str) -> tuple[str, int, int]:
    """The message without its position, line and column (tomllib has them as attributes only from Python 3.14)."""
    body, _, place = message.rpartition(" (at ")
    words = place.rstrip(")").split()
    if place.startswith("line "):
        return body, int(words[1].rstrip(",")), int(words[3])
    lines = text.split("\n")
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    return body or message, last, len(lines[last - 1].rstrip()) + 1
