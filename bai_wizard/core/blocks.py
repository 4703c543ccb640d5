"""Marked blocks in files that belong to others: only what stands between the two markers is ever ours.

Texts are kept to the byte: other lines keep their blanks, their order, their line endings and their comments.
A marker is recognised when its line, without blanks around it, is the marker's own text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bai_wizard.core.errors import WizardError


class BlockDamaged(WizardError):
    """The markers do not pair up, so nobody can say which lines are ours."""


@dataclass(frozen=True)
class Markers:
    """The first and the last line of a block, both ours."""

    begin: str
    end: str


@dataclass(frozen=True)
class Block:
    """One block as found. Lines count from 1 and include the markers; `lines` are those in between."""

    first: int
    last: int
    lines: tuple[str, ...]


def find_blocks(text: str, markers: Markers) -> tuple[Block, ...]:
    """Every block, in order. Raises BlockDamaged where a marker has no partner, naming its line."""
    blocks: list[Block] = []
    begun = 0
    inside: list[str] = []
    for number, line in enumerate(_lines(text), start=1):
        word = line.strip()
        if word == markers.begin:
            if begun:
                raise BlockDamaged(f"line {number} begins the block again that line {begun} began: {markers.begin}")
            begun, inside = number, []
        elif word == markers.end:
            if not begun:
                raise BlockDamaged(f"line {number} ends a block that was never begun: {markers.end}")
            blocks.append(Block(begun, number, tuple(inside)))
            begun = 0
        elif begun:
            inside.append(line.rstrip("\r\n"))
    if begun:
        raise BlockDamaged(f"line {begun} begins a block that never ends: {markers.begin}")
    return tuple(blocks)


def outside(text: str, markers: Markers) -> tuple[tuple[int, str], ...]:
    """The lines that are not ours, with their numbers. Raises BlockDamaged."""
    ours = {number for block in find_blocks(text, markers) for number in range(block.first, block.last + 1)}
    return tuple(
        (number, line.rstrip("\r\n")) for number, line in enumerate(_lines(text), start=1) if number not in ours
    )


def put_block(text: str, markers: Markers, lines: Sequence[str]) -> str:
    """`text` with exactly one block that holds `lines`: in the place of the first one, else at the end.

    A file without a final line break gets one before the block is appended. Raises BlockDamaged.
    """
    wanted = [f"{line}\n" for line in (markers.begin, *lines, markers.end)]
    blocks = find_blocks(text, markers)
    if not blocks:
        separator = "" if not text or text.endswith("\n") else "\n"
        return text + separator + "".join(wanted)
    result: list[str] = []
    for number, line in enumerate(_lines(text), start=1):
        if number == blocks[0].first:
            result += wanted
        if not any(block.first <= number <= block.last for block in blocks):
            result.append(line)
    return "".join(result)


def drop_block(text: str, markers: Markers) -> str:
    """`text` without any of our blocks. Raises BlockDamaged."""
    blocks = find_blocks(text, markers)
    return "".join(
        line
        for number, line in enumerate(_lines(text), start=1)
        if not any(block.first <= number <= block.last for block in blocks)
    )


def _lines(text: str) -> list[str]:
    # Not str.splitlines: that breaks at form feeds and other characters which are no line ends in these files.
    pieces = text.split("\n")
    return [f"{piece}\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])
