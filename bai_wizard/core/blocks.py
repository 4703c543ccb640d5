"""Marked blocks in files that belong to others: one block is ours, every other line keeps its bytes.

A marker is a whole line, compared without the blanks around it. Lines end at `\\n`; a file whose first line ends
with `\\r\\n` gets its block with the same endings.
"""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.errors import StepBlocked


class DamagedBlock(StepBlocked):
    """Markers that are duplicated, out of order or lack their counterpart. The message names the line."""


@dataclass(frozen=True)
class Block:
    """Where a block stands: `begin` and `end` are the line numbers of its markers, from 1. `body` lies between."""

    begin: int
    end: int
    body: str


def find_block(text: str, begin: str, end: str) -> Block | None:
    """The block between the marker lines, None where there is none. Raises DamagedBlock."""
    lines = _lines(text)
    starts = [number for number, line in enumerate(lines, 1) if line.strip() == begin.strip()]
    stops = [number for number, line in enumerate(lines, 1) if line.strip() == end.strip()]
    if not starts and not stops:
        return None
    if len(starts) > 1:
        raise DamagedBlock(f"line {starts[1]}: a second {begin.strip()!r}; the first is line {starts[0]}")
    if len(stops) > 1:
        raise DamagedBlock(f"line {stops[1]}: a second {end.strip()!r}; the first is line {stops[0]}")
    if not stops:
        raise DamagedBlock(f"line {starts[0]}: {begin.strip()!r} without {end.strip()!r} after it")
    if not starts or stops[0] < starts[0]:
        raise DamagedBlock(f"line {stops[0]}: {end.strip()!r} without {begin.strip()!r} before it")
    return Block(starts[0], stops[0], "".join(lines[starts[0] : stops[0] - 1]))


def replace_block(text: str, begin: str, end: str, body: str) -> str:
    """`text` with the block saying `body`; appended at the end where there is none. Raises DamagedBlock.

    Markers that stand already keep their bytes too.
    """
    ending = _ending(text)
    inner = [line.rstrip("\r\n") + ending for line in _lines(body)]
    lines = _lines(text)
    block = find_block(text, begin, end)
    if block is not None:
        return "".join([*lines[: block.begin], *inner, *lines[block.end - 1 :]])
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += ending
    return "".join([*lines, begin.strip() + ending, *inner, end.strip() + ending])


def remove_block(text: str, begin: str, end: str) -> str:
    """`text` without the block and its markers. Raises DamagedBlock."""
    block = find_block(text, begin, end)
    if block is None:
        return text
    lines = _lines(text)
    return "".join([*lines[: block.begin - 1], *lines[block.end :]])


def _lines(text: str) -> list[str]:
    """Lines with their endings. Not str.splitlines, which also splits at form feeds and at U+2028."""
    pieces = text.split("\n")
    whole = [piece + "\n" for piece in pieces[:-1]]
    return [*whole, pieces[-1]] if pieces[-1] else whole


def _ending(text: str) -> str:
    first, newline, _ = text.partition("\n")
    return "\r\n" if newline and first.endswith("\r") else "\n"
