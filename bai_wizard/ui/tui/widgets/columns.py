"""The columns of a page's table, shared by its fields, its objects and its headings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import set_cell_size

from bai_wizard.ui.page_rows import Mood

# Cells of the label column of a form, and of a narrow one's.
LABEL = 24
NARROW_LABEL = 18
NARROW_FORM = 80
# The minimum width of a table with a column for the changes.
NARROW_TABLE = 72
# Cells between two columns, and before the lines below a row.
GAP = 2
BELOW = 4


class Columns(NamedTuple):
    """Cells of the columns of a page's table. Without `now` and `change`: a form of labels and values."""

    label: int
    now: int
    want: int
    change: int

    @property
    def at_want(self) -> int:
        """Where the desired values begin."""
        return self.label + GAP + (self.now + GAP if self.now else 0)


def columns_of(width: int, in_table: bool) -> Columns:
    """The columns that fit: in a narrow table, the change is shown below its row."""
    if not in_table:
        label = (NARROW_LABEL if width < NARROW_FORM else LABEL) - GAP
        return Columns(label, 0, max(1, width - label - GAP), 0)
    if width < NARROW_TABLE:
        label = max(8, width * 3 // 10)
        now = max(6, width * 3 // 10)
        return Columns(label, now, max(6, width - label - now - 2 * GAP), 0)
    room = width - 3 * GAP
    label, now = min(30, room * 27 // 100), min(50, room * 22 // 100)
    want = min(50, room * 27 // 100)
    return Columns(label, now, want, room - label - now - want)


MOODS: dict[Mood, str] = {"": "", "good": "$text-success", "todo": "$text-warning", "bad": "$text-error"}


def cell_at(lines: Sequence[str], index: int, width: int) -> str:
    """One line of a cell in exactly this many cells."""
    return set_cell_size(lines[index] if index < len(lines) else "", width)
