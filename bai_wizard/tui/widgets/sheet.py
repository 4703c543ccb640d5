"""A table to look things up in: the row that counts for this node marked, the rest when somebody wants it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from textual.content import Content

from bai_wizard.core.page import Sheet
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.now import columns
from bai_wizard.tui.widgets.walk import Walk, cut

# Rows shown before anybody asks for more.
FEW = 5
# Cells between two columns, and before the first one, where the mark stands.
GAP = 2


class SheetView(Walk):
    """Columns as far as they fit. Of the marked row, what does not fit is told below the table."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__(id="sheet")
        self.sheet: Sheet | None = None
        self._folded = True

    def show(self, sheet: Sheet | None) -> None:
        """Draws a table; None draws nothing."""
        self.sheet = sheet
        self.can_focus = sheet is not None and len(sheet.rows) > FEW + 1
        self.changed()

    def lines(self) -> list[Content]:
        if self.sheet is None:
            return []
        shown = self._rows_shown(self.sheet)
        lines = list(_table(self.sheet, shown, self.size.width or 50))
        if self.can_focus:
            hidden = len(self.sheet.rows) - len(shown)
            lines.append(Content(tr("+ {count} more lines", count=hidden) if hidden else tr("- fewer lines")))
        return lines + [Content(line) for line in columns(self._told(self.sheet), self.size.width or 50)]

    def _rows_shown(self, sheet: Sheet) -> range:
        if not self.can_focus or not self._folded:
            return range(len(sheet.rows))
        first = max(0, min(sheet.marked - FEW // 2, len(sheet.rows) - FEW))
        return range(first, first + FEW)

    def _told(self, sheet: Sheet) -> list[tuple[str, str]]:
        if sheet.marked < 0:
            return [(tr(what), value) for what, value in sheet.details]
        fitting = set(_fitting(sheet, self.size.width or 50))
        row = sheet.rows[sheet.marked]
        missing = [(tr(sheet.headings[at]), row[at]) for at in range(len(row)) if at not in fitting]
        return [*missing, *((tr(what), value) for what, value in sheet.details)]

    def taken(self, at: int) -> None:
        if self.can_focus:
            self._folded = not self._folded
            self.changed()

    def on_resize(self) -> None:
        """The columns follow the width."""
        self.changed()


def _widths(sheet: Sheet, width: int) -> list[int]:
    """Cells of each column; where narrow columns follow a wide first one, that one makes room."""
    headings = [tr(heading) for heading in sheet.headings]
    widths = [max(cell_len(row[at]) for row in (headings, *sheet.rows)) for at in range(len(headings))]
    others = sum(GAP + wanted for wanted in widths[1:])
    if others <= width * 2 // 3:
        widths[0] = min(widths[0], width - GAP - others)
    return widths


def _fitting(sheet: Sheet, width: int) -> Iterator[int]:
    """The places of the columns that fit, the first one always."""
    taken = 0
    for at, wanted in enumerate(_widths(sheet, width)):
        if at == 0 or taken + GAP + wanted <= width:
            taken += GAP + wanted
            yield at


def _table(sheet: Sheet, shown: range, width: int) -> Iterator[Content]:
    widths = _widths(sheet, width)
    places = list(_fitting(sheet, width))

    def line(cells: tuple[str, ...], mark: str) -> str:
        drawn = f"{mark:<{GAP}}" + (" " * GAP).join(cut(cells[at], widths[at]) for at in places)
        return cut(drawn.rstrip(), width).rstrip()

    yield Content.styled(line(tuple(tr(heading) for heading in sheet.headings), ""), "bold")
    for at in shown:
        text = line(sheet.rows[at], ">" if at == sheet.marked else "")
        yield Content.styled(text, "bold") if at == sheet.marked else Content(text)
