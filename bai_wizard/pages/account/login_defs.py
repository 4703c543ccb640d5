"""/etc/login.defs as the programs of shadow read it (lib/getdef.c): the last line of a name decides.

Compared with useradd itself on generated files in tests/node/test_account_grammars.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bai_wizard.core.parse import Malformed, whole

# fgets(3) with shadow's buffer: a longer line is read as several.
_LINE_LENGTH = 1023
# strtol(3) with base 0; with glibc 2.38 and later also binary numbers.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|(0[0-7]*)|([1-9][0-9]*))")
_LARGEST = 2**31 - 1


def login_defs(content: bytes, *, before_4_17: bool = False) -> dict[str, str]:
    """Return the values by name. Shadow before 4.17 also ignores carriage returns and form feeds at line ends."""
    blanks = b" \t\n\v\f\r" if before_4_17 else b" \t\n"
    result: dict[str, str] = {}
    for line in content.split(b"\n"):
        for start in range(0, len(line) + 1, _LINE_LENGTH):
            text = line[start : start + _LINE_LENGTH].partition(b"\0")[0].rstrip(blanks).lstrip(b" \t")
            words = re.split(rb"[ \t]", text, maxsplit=1)
            if len(words) == 2 and not text.startswith(b"#"):
                value = words[1].lstrip(b' \t"').partition(b'"')[0]
                result[words[0].decode("latin-1")] = value.decode("latin-1")
    return result


def number_in(values: Mapping[str, str], name: str, *, before_4_17: bool = False) -> int | None:
    """Return a number; None if it is not set, or if shadow rejects it and uses its default."""
    found = _NUMBER.fullmatch(values.get(name, ""))
    if found is None or (found[3] and before_4_17):
        return None
    try:
        digits = zip(found.groups()[1:], (16, 2, 8, 10), strict=True)
        number = next(whole(text.lstrip("0") or "0", base) for text, base in digits if text)
    except Malformed:
        return None  # longer than any number in range
    number = -number if found[1] == "-" else number
    return number if (-_LARGEST - 1 if before_4_17 else -1) <= number <= _LARGEST else None
