"""The reference table of a page, with the applicable row marked; selecting a row may set a field."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from bai_wizard.core.page import ReferenceTable
from bai_wizard.locale import tr
from bai_wizard.ui.tui.base import Static, while_mounted
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut, in_cell, wrapped
from bai_wizard.ui.tui.widgets.row_list import RowList

# Cells between two columns, and before the first one, where the mark is.
GAP = 2
# Lines of the screen that the rest of the page needs.
REST = 18
# Longer values are not shown.
BRIEF = 40


class SheetRows(RowList[int]):
    """The rows by their numbers; Enter chooses one. Long texts of the last column are wrapped."""

    marks_always = True

    def __init__(self) -> None:
        super().__init__("sheet-rows")
        self.table = ReferenceTable("", (), ())

    def name_of(self, row: int) -> object:
        return row

    def draw(self) -> Iterator[tuple[int, Content]]:
        for number, row in enumerate(self.table.rows):
            mark = "▶" if number == self.table.marked else ""
            yield from ((number, Content(line)) for line in lines_of(self.table, row, self.width, mark))

    def go_to(self, number: int) -> None:
        """Move the cursor to the first line of a row."""
        self.cursor = next((index for index, (row, _) in enumerate(self.rows) if row == number), 0)


class ReferenceTableView(Vertical):
    """A table with all of its rows, as high as the screen allows, and what is known about the marked one."""

    DEFAULT_CSS = """
    ReferenceTableView { height: auto; display: none; }
    ReferenceTableView #sheet-head { text-style: bold; color: $text-muted; }
    ReferenceTableView VerticalScroll { height: auto; }
    ReferenceTableView #sheet-details { color: $text-muted; margin-bottom: 1; }
    """

    class Chosen(Message):
        """A row was chosen: its value for the table's field."""

        def __init__(self, field: str, value: str) -> None:
            super().__init__()
            self.field = field
            self.value = value

    class Noted(Message):
        """Remarks about the row under the cursor."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="sheet")
        self.sheet: ReferenceTable | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="sheet-head")
        with VerticalScroll(can_focus=False):
            yield SheetRows()
        yield Static(id="sheet-details")

    def show(self, table: ReferenceTable) -> None:
        """Show the table; the cursor begins at its marked row."""
        rows, first = self.query_one(SheetRows), self.sheet is None
        moved = self.sheet is not None and self.sheet.marked != table.marked
        self.sheet = rows.table = table
        self.display = bool(table.rows)
        rows.changed()
        if (first or moved) and table.marked >= 0 and not rows.has_focus:
            rows.go_to(table.marked)
        self._draw()
        self.call_after_refresh(self._reveal)

    @while_mounted
    def _reveal(self) -> None:
        rows = self.query_one(SheetRows)
        if not rows.has_focus:
            rows.show_cursor()

    def on_resize(self) -> None:
        if self.sheet is not None:
            self._draw()

    def _draw(self) -> None:
        table = self.sheet
        assert table is not None
        width = self.size.width or 76
        self.query_one(VerticalScroll).styles.max_height = max(5, self.app.size.height - REST)
        head = "\n".join(lines_of(table, tuple(map(tr, table.headings)), width, ""))
        self.query_one("#sheet-head", Static).update(head)
        # Digests and names of files are in the diff.
        brief = [f"{tr(what)}: {value}" for what, value in table.details if len(value) <= BRIEF]
        self.query_one("#sheet-details", Static).update("\n".join(wrapped("   ".join(brief), width)[:2]))

    def on_list_box_highlighted(self, event: ListBox.Highlighted) -> None:
        event.stop()
        if event.list_box.has_focus:
            self._note()

    def on_descendant_focus(self) -> None:
        self._note()

    def _note(self) -> None:
        """Tell what there is to say about the row under the cursor."""
        notes = self.sheet.notes if self.sheet is not None else ()
        row = self.query_one(SheetRows).row()
        if row is not None and row < len(notes):
            self.post_message(self.Noted(notes[row]))

    def on_list_box_selected(self, event: ListBox.Selected) -> None:
        event.stop()
        row = self.query_one(SheetRows).row()
        if self.sheet is not None and self.sheet.values and row is not None:
            self.post_message(self.Chosen(self.sheet.field, self.sheet.values[row]))


def _widths(table: ReferenceTable) -> list[int]:
    headings = [tr(heading) for heading in table.headings]
    return [max(cell_len(row[index]) for row in (headings, *table.rows)) for index in range(len(headings))]


def _fitting(table: ReferenceTable, width: int) -> Iterator[tuple[int, int]]:
    """The columns that fit with their cells; the last one may be narrower than its texts."""
    taken = GAP
    for index, cells in enumerate(_widths(table)):
        room = width - taken
        if index and room < min(cells, 8):
            return
        yield index, min(cells, room)
        taken += cells + GAP


def lines_of(table: ReferenceTable, row: tuple[str, ...], width: int, mark: str) -> Iterator[str]:
    """One row in columns, the last of which is wrapped."""
    columns = list(_fitting(table, width))
    drawn = [[cut(row[index], size)] for index, size in columns[:-1]]
    drawn += [in_cell(row[index], size) for index, size in columns[-1:]]
    for at in range(max(map(len, drawn))):
        cells = (
            texts[at] if at < len(texts) else " " * size for texts, (_, size) in zip(drawn, columns, strict=True)
        )
        yield f"{'' if at else mark:<{GAP}}" + (" " * GAP).join(cells).rstrip()
