"""The top line with the node, and the sidebar with the state of every page in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

from bai_wizard.core.display import visible
from bai_wizard.locale import ntr, tr
from bai_wizard.pages import ORDER
from bai_wizard.ui.tui.base import shown, while_mounted, wizard
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut

if TYPE_CHECKING:
    from bai_wizard.core.step import Plan


Mood = Literal["good", "todo", "bad", "quiet", "busy"]


class Status(NamedTuple):
    """`word` is shown, `mood` only selects its color."""

    word: str
    mood: Mood


def status_of_plan(page: str, plan: Plan) -> Status:
    """The state of one page that applies, according to the plan."""
    from bai_wizard.core.step import Blocked, Pending

    blocked = [item for item in plan.blocked() if item.step.page == page]
    pending = [item for item in plan.pending() if item.step.page == page]
    if blocked:
        only = all(item in plan.undetermined() for item in blocked)
        return Status(tr("unknown") if only else tr("blocked"), "bad")
    optional = [item for item in plan.steps if item.step.page == page and isinstance(item.verdict, Blocked)]
    if not pending and optional:
        return Status(tr("blocked"), "bad")
    if not pending and any(item.page == page for item in plan.unset):
        return Status(tr("not set up"), "todo")
    if not pending:
        return Status(tr("up to date"), "good")
    if all(isinstance(item.verdict, Pending) and item.verdict.is_partial for item in pending):
        return Status(tr("pending"), "todo")
    return Status(ntr("{count} change", "{count} changes", len(pending)), "todo")


class Header(Widget):
    """The name of the tool, the name of the node and as much about it as fits, and how many pages are ready."""

    DEFAULT_CSS = """
    Header { height: 1; width: 1fr; }
    """

    def begin(self) -> None:
        """Start showing the node."""
        wizard(self).plan_model.moved.subscribe(self, self._moved)
        self.refresh()

    @while_mounted
    def _moved(self, _page: str) -> None:
        self.refresh()

    def render(self) -> Content:
        if not wizard(self).is_open:
            return shown(" bai-wizard")
        plan_model = wizard(self).plan_model
        words = [word for word in (plan_model.draft.host, *plan_model.node_summary()) if word]
        counted = [page for page in ORDER if page not in plan_model.draft.skipped]
        ready = sum(1 for page in counted if plan_model.status(page).mood == "good")
        right = tr("{ready} of {all} up to date", ready=ready, all=len(counted)) + " "
        room = self.size.width - cell_len(right) - 1
        while cell_len(left := visible(" bai-wizard   " + " · ".join(words), lines=False)) > room and len(words) > 1:
            words.pop()
        if cell_len(left) > room:
            left = set_cell_size(left, max(0, room - 1)) + "…"
        return shown(set_cell_size(left, room) + " " + right)


STYLES: dict[Mood, str] = {
    "good": "$text-success",
    "todo": "$text-warning",
    "bad": "bold $text-error",
    "quiet": "dim",
    "busy": "$text-accent",
}


class Entry(NamedTuple):
    """One line of the sidebar. `key` names the page or the action; a line without one is a rule."""

    key: str
    title: str
    status: Status | None = None
    summary: str = ""


# Cells of the titles in a wide list; in a narrow one, the states are aligned to the right.
TITLE, STATE, NARROW = 15, 13, 40


def fitting(text: str, width: int) -> str:
    """As many of the parts between commas as fit; a single one is cut."""
    parts = text.split(", ")
    while len(parts) > 1 and cell_len(", ".join(parts)) + 3 * (len(parts) < len(text.split(", "))) > width:
        parts.pop()
    kept = ", ".join(parts)
    return cut(kept if kept == text else f"{kept}, …", width).rstrip()


class Sidebar(ListBox):
    """The entries, one per line; the open page is marked."""

    marks_always = True
    DEFAULT_CSS = """
    Sidebar { width: 1fr; height: auto; }
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(id="rail")
        self.entries = tuple(entries)
        self.open = ""

    def show(self, entries: Sequence[Entry], open: str) -> None:
        """Show these entries; `open` is the key of the page beside the sidebar."""
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
        room = TITLE if width > NARROW else max(4, width - 2 - cell_len(entry.status.word))
        title = set_cell_size(entry.title, room)
        if width > NARROW:
            word = set_cell_size(entry.status.word, max(STATE, cell_len(entry.status.word)))
            rest = width - room - 2 - cell_len(word)
            told = fitting(entry.summary, max(0, rest))
            return Content.assemble(title, " ", (word, STYLES[entry.status.mood]), " ", told)
        return Content.assemble(title, " ", (entry.status.word, STYLES[entry.status.mood]), mark)

    def action_walk(self, by: int) -> None:
        """Move over rules; stay at the ends, because the sidebar is not a form."""
        index = self.cursor + by
        while 0 <= index < len(self.entries) and not self.entries[index].key:
            index += by
        if 0 <= index < len(self.entries):
            self.cursor = index

    def key_at(self, index: int) -> str:
        return self.entries[index].key if index < len(self.entries) else ""
