"""One line on top: the node, and how far it is."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.widget import Widget

from bai_wizard.pages import ORDER
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import wizard


class Header(Widget):
    """Name of the tool, of the node, what it is, and how many pages are ready."""

    DEFAULT_CSS = """
    Header { height: 1; width: 1fr; }
    """

    def begin(self) -> None:
        """From now on there is something to tell of the node."""
        wizard(self).surveyor.moved.subscribe(self, lambda _page: self.refresh())
        self.refresh()

    def render(self) -> Content:
        if not wizard(self).is_open:
            return Content(" bai-wizard")
        surveyor = wizard(self).surveyor
        words = [surveyor.draft.host, *wizard(self).what_node()]
        left = " bai-wizard   " + " · ".join(word for word in words if word)
        counted = [page for page in ORDER if page not in surveyor.draft.skipped]
        ready = sum(1 for page in counted if surveyor.status(page).mood == "good")
        right = tr("{ready} of {all} ready", ready=ready, all=len(counted)) + " "
        room = self.size.width - cell_len(right) - 1
        if cell_len(left) > room:
            left = set_cell_size(left, max(0, room - 1)) + "…"
        return Content(set_cell_size(left, room) + " " + right)
