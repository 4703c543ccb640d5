"""/etc/environment as pam_env reads it for every login: the last line of a name decides.

Compared with pam_env itself on generated files in tests/node/test_account_grammars.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Before Linux-PAM 1.6: the size of its buffer. It does not read on after a longer line.
_BUFFER = 8192
_QUOTES = (b'"', b"'")


def pam_environment(content: bytes, *, before_1_6: bool = False) -> dict[str, str]:
    """Return the variables that a login gets, with bytes that are not ASCII as characters of Latin-1."""
    result: dict[str, str] = {}
    for line in _lines_before_1_6(content) if before_1_6 else _lines(content):
        text = re.split(rb"[\n#\0]", line.lstrip(b" \n\t").removeprefix(b"export "), maxsplit=1)[0]
        name, equals, value = text.partition(b"=")
        if not re.fullmatch(rb"\w+", name):
            continue
        if not equals:
            result.pop(name.decode(), None)
            continue
        if value.startswith(_QUOTES):
            value = value[1:-1] if value[1:].endswith(_QUOTES) else value[1:]
        result[name.decode()] = value.decode("latin-1")
    return result


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield lines, joined where they end in a backslash; a comment ends them, and so does the end of the file."""
    parts: list[bytes] = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+", content):
        text = line.rstrip(b" \t\n")
        is_joined = text.endswith(b"\\")
        text = (text[:-1] if is_joined else line).lstrip(b" \t")
        has_comment = b"#" in text.partition(b"\0")[0]
        if text and (parts or is_joined or text[:1] not in (b"\n", b"#", b"\0")):
            parts.append(text.replace(b"#", b"\0"))
        if not is_joined or has_comment:
            whole = b"".join(parts).partition(b"\0")[0]
            parts = []
            if whole:
                yield whole


def _lines_before_1_6(content: bytes) -> Iterator[bytes]:
    """As `_lines`, but comments between joined lines are skipped, and long lines and NUL bytes end the reading."""
    joined = b""
    for line in re.findall(rb"[^\n]*\n|[^\n]+", content):
        text = line.partition(b"\0")[0]
        is_last = not line.endswith(b"\n")
        if not text or len(line) + is_last >= _BUFFER - len(joined) or not (is_last or text.endswith(b"\n")):
            return
        body = text.lstrip(b" \n\t")
        if not body or body.startswith(b"#"):
            continue
        kept = text.rstrip(b" \t\n")
        if b"#" not in text and kept.endswith(b"\\"):
            joined += kept[:-1]
        else:
            yield joined + text
            joined = b""
