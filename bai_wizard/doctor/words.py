"""Texts as chains of words: what differs from node to node (paths, numbers, names, times) becomes a blank."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

BLANK = "#"
_GAP = re.compile(r"<[^>\n]*>")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Addresses, paths and times as a whole; then the words.
_VARIABLE = re.compile(r"\w+://\S+|(?<![\w.])/[\w.+@:/-]+|\b\d{1,2}:\d\d:\d\d\b")
_WORD = re.compile(r"[^\W_]+")
# Words with digits that mean something: x509, ipv4, nfs4, utf8. Others (550, 0a1b, 12h) differ.
_NAME = re.compile(r"[a-z]{1,7}\d{1,3}")

Pair = tuple[str, str]


def words(text: str) -> tuple[str, ...]:
    """The words of a text in small letters; one blank for each run of variable ones."""
    found: list[str] = []
    plain = _VARIABLE.sub(f" {BLANK}{BLANK} ", _COLOUR.sub("", text)).lower()
    for word in re.findall(rf"{BLANK}{BLANK}|{_WORD.pattern}", plain):
        varies = word.startswith(BLANK) or (any(map(str.isdigit, word)) and not _NAME.fullmatch(word))
        if not varies:
            found.append(word)
        elif not found or found[-1] != BLANK:
            found.append(BLANK)
    return tuple(found)


def pairs(text: str) -> frozenset[Pair]:
    """Neighbouring words of a line. A blank is no neighbour, except of a text of one word, which is its own pair."""
    chain = words(text)
    found = {pair for pair in pairwise(chain) if BLANK not in pair}
    alone = [word for word in chain if word != BLANK]
    return frozenset(found or ({(alone[0], "")} if len(alone) == 1 else set()))


def pattern_pairs(text: str) -> frozenset[Pair]:
    """Those of a known text, in which `<…>` stands for anything."""
    parts = [part for part in _GAP.split(text) if part.strip()]
    found: set[Pair] = set()
    for part in parts:
        made = pairs(part)
        # A lone word between two gaps says nothing, a lone word as the whole text does.
        found |= {pair for pair in made if pair[1] or len(parts) == 1}
    return frozenset(found)


def line_pairs(line: str) -> frozenset[Pair]:
    """Those of a line of a log: each long word also counts alone, for known texts of one word."""
    lone = {(word, "") for word in words(line) if len(word) >= 12}
    return pairs(line) | lone


def lines(text: str, most: int = 50_000) -> Iterator[tuple[int, str]]:
    """Line numbers and lines that are not empty, the last `most` of them: the end of a log tells most."""
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    yield from numbered[-most:]
