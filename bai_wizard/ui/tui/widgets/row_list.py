"""A list whose rows take one or more wrapped lines, so that nothing is cut; the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from textual.content import Content

from bai_wizard.ui.tui.widgets.list_box import ListBox, wrapped

Row = TypeVar("Row")


class RowList(ListBox, Generic[Row]):
    """A subclass defines `draw`, and `name_of` so that the cursor finds its row again."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.rows: list[tuple[Row, Content]] = []
        self.width = 0

    def draw(self) -> Iterator[tuple[Row, Content]]:
        """Every line with the row that it belongs to."""
        raise NotImplementedError

    def name_of(self, row: Row) -> object:
        """What identifies a row when the lines are redrawn."""
        raise NotImplementedError

    def changed(self) -> None:
        """Redraw the lines, with the cursor on the same row."""
        row = self.rows[self.cursor][0] if self.cursor < len(self.rows) else None
        self.width = max(30, self.size.width or 78)
        self.rows = list(self.draw())
        if row is not None:
            name = self.name_of(row)
            same = (index for index, (each, _) in enumerate(self.rows) if self.name_of(each) == name)
            self.cursor = next(same, self.cursor)
        super().changed()

    def on_resize(self) -> None:
        if self.width != max(30, self.size.width):
            self.changed()

    def lines(self) -> list[Content]:
        return [line for _, line in self.rows]

    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor][0] if self.cursor < len(self.rows) else None

    def go_to_next(self, by: int, wanted: Callable[[Row], bool]) -> bool:
        """Move the cursor to the next or previous such row, also from the last to the first; False without one."""
        names: dict[object, int] = {}
        for index, (row, _) in enumerate(self.rows):
            if wanted(row):
                names.setdefault(self.name_of(row), index)
        places = list(names.values())
        if not places:
            return False
        here = self.row()
        at = names.get(self.name_of(here), self.cursor) if here is not None else self.cursor
        after = [index for index in places if (index > at if by > 0 else index < at)]
        self.cursor = (after or places)[0 if by > 0 else -1]
        return True

    def wrap(self, row: Row, lead: str, text: str, style: str) -> Iterator[tuple[Row, Content]]:
        """The lines of a row: the prefix of the first one indents the others."""
        for number, line in enumerate(wrapped(text, self.width - len(lead))):
            yield row, Content.styled((lead if not number else " " * len(lead)) + line, style)
