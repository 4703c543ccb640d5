"""The rail: every page with its state in words, then what can be done with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from bai_wizard.tui.status import Mood, Status
from bai_wizard.tui.widgets.walk import Walk

STYLES: dict[Mood, str] = {
    "good": "$text-success",
    "todo": "$text-warning",
    "bad": "bold $text-error",
    "quiet": "dim",
    "busy": "$text-accent",
}


class Entry(NamedTuple):
    """One line of the rail. `key` names the page or the action; a line without one is a rule."""

    key: str
    title: str
    status: Status | None = None


class Rail(Walk):
    """The entries in a line each; the one whose page is open carries a mark."""

    marks_always = True
    DEFAULT_CSS = """
    Rail { width: 1fr; height: auto; }
    """

    def __init__(self) -> None:
        super().__init__(id="rail")
        self.entries: Sequence[Entry] = ()
        self.open = ""

    def show(self, entries: Sequence[Entry], open: str) -> None:
        """Draws these entries, `open` being the key of the one that is shown beside."""
        if tuple(entries) != tuple(self.entries) or open != self.open:
            self.entries = tuple(entries)
            self.open = open
            self.changed()

    def lines(self) -> list[Content]:
        width = self.size.width or 24
        return [self._line(entry, width) for entry in self.entries]

    def _line(self, entry: Entry, width: int) -> Content:
        if not entry.key:
            return Content("─" * width)
        mark = "◀" if entry.key == self.open else " "
        if entry.status is None:
            return Content(set_cell_size(entry.title, width - 1) + mark)
        room = width - 2 - cell_len(entry.status.word)
        title = set_cell_size(entry.title, max(4, room))
        return Content.assemble(title, " ", (entry.status.word, STYLES[entry.status.mood]), mark)

    def action_walk(self, by: int) -> None:
        """Moves over rules; stays at the ends, for the rail is no form."""
        place = self.at + by
        while 0 <= place < len(self.entries) and not self.entries[place].key:
            place += by
        if 0 <= place < len(self.entries):
            self.at = place

    def key_at(self, at: int) -> str:
        """The key of a line."""
        return self.entries[at].key if at < len(self.entries) else ""
