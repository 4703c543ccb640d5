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
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut, wrapped

# Cells between two columns, and before the first one, where the mark is.
GAP = 2
# Lines of the screen that the rest of the page needs.
REST = 18
# Longer values are not shown.
BRIEF = 40


class SheetRows(ListBox):
    """The rows; Enter chooses one."""

    marks_always = True

    def __init__(self) -> None:
        super().__init__(id="sheet-rows")
        self.table = ReferenceTable("", (), ())

    def lines(self) -> list[Content]:
        table, width = self.table, self.size.width or 76
        return [
            Content(line_of(table, row, width, "▶" if index == table.marked else ""))
            for index, row in enumerate(table.rows)
        ]


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
        self.display = True
        if (first or moved) and table.marked >= 0 and not rows.has_focus:
            rows.cursor = table.marked
        rows.changed()
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
        self.query_one("#sheet-head", Static).update(line_of(table, tuple(map(tr, table.headings)), width, ""))
        # Digests and names of files are in the diff.
        brief = [f"{tr(what)}: {value}" for what, value in table.details if len(value) <= BRIEF]
        self.query_one("#sheet-details", Static).update("\n".join(wrapped("   ".join(brief), width)[:2]))

    def on_list_box_highlighted(self, event: ListBox.Highlighted) -> None:
        event.stop()
        notes = self.sheet.notes if self.sheet is not None else ()
        if event.list_box.has_focus and event.cursor < len(notes):
            self.post_message(self.Noted(notes[event.cursor]))

    def on_list_box_selected(self, event: ListBox.Selected) -> None:
        event.stop()
        if self.sheet is not None and self.sheet.values:
            self.post_message(self.Chosen(self.sheet.field, self.sheet.values[event.cursor]))


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


def line_of(table: ReferenceTable, row: tuple[str, ...], width: int, mark: str) -> str:
    """One row in columns."""
    cells = (cut(row[index], size) for index, size in _fitting(table, width))
    return f"{mark:<{GAP}}" + (" " * GAP).join(cells).rstrip()
