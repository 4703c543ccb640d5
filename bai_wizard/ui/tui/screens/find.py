"""Search a field or an object of any page, and go to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input

from bai_wizard.locale import N_, tr
from bai_wizard.pages import TITLES
from bai_wizard.ui.find import Place, matching
from bai_wizard.ui.tui.base import Dialogue, Static
from bai_wizard.ui.tui.widgets.actions import Keys
from bai_wizard.ui.tui.widgets.list_box import ListBox
from bai_wizard.ui.tui.widgets.row_list import RowList

# More results than this are not worth reading: another word narrows them down.
MAX_RESULTS = 100


class Places(RowList[Place | None]):
    """The places that match, under the titles of their pages."""

    marks_always = True

    def __init__(self) -> None:
        super().__init__("places")
        self.found: Sequence[Place] = ()

    def show(self, found: Sequence[Place]) -> None:
        """Show other results, with the cursor on the first."""
        self.found = found
        self.cursor = 0
        self.changed()
        self.cursor = next((index for index, (place, _) in enumerate(self.rows) if place is not None), 0)

    def name_of(self, row: Place | None) -> object:
        return row and (row.page, row.key)

    def draw(self) -> Iterator[tuple[Place | None, Content]]:
        if not self.found:
            yield from self.wrap(None, "", tr("Nothing matches."), "")
        page = ""
        for place in self.found[:MAX_RESULTS]:
            if place.page != page:
                page = place.page
                yield None, Content.styled(tr(TITLES[page]), "bold")
            text = f"{place.label}: {place.value}" if place.value else place.label
            yield from self.wrap(place, "  ", text, "")


class FindScreen(Dialogue[Place]):
    """The results follow the typed words; Enter goes to the first, or to the one under the cursor."""

    HELP = "find"
    NEEDS = ("#words", "#places")

    def __init__(self, found: Sequence[Place], page: str) -> None:
        super().__init__()
        self._found = found
        self._page = page

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue tall"):
            yield Static(tr("Search settings"), classes="title")
            yield Input(placeholder=tr("part of a name, a value or a description"), compact=True, id="words")
            with VerticalScroll(id="find-body", can_focus=False):
                yield Places()
            yield Keys((("Enter", N_("Go there")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.query_one("#words").focus()
        self._show("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(event.value)

    def _show(self, words: str) -> None:
        self.query_one(Places).show(matching(self._found, words, self._page))

    @on(Input.Submitted)
    @on(ListBox.Selected, "Places")
    def _taken(self) -> None:
        place = self.query_one(Places).row()
        if place is not None:
            self.dismiss(place)
