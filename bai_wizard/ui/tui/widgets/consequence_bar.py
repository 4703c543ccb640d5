"""The consequences of a plan in one or two lines; each part opens its details."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.geometry import Offset, Size

from bai_wizard.core.secret import redact
from bai_wizard.locale import N_, tr
from bai_wizard.ui.consequences import SEPARATOR, Consequences, Kind, Part
from bai_wizard.ui.tui.base import Dialogue, Static, shown, while_mounted, wizard
from bai_wizard.ui.tui.widgets.actions import Keys, PartRow
from bai_wizard.ui.tui.widgets.list_box import inset

STYLES: dict[Kind, str] = {"disruption": "bold $text-warning", "steps": "bold"}


class ConsequenceBar(PartRow):
    """`52 steps · ~11 min · 6.2 GB download · …`: Enter opens the details."""

    def __init__(self) -> None:
        super().__init__(id="consequences")
        self.parts: tuple[Part, ...] = ()
        # The first cell of each part.
        self._places: list[Offset] = []

    def show(self, consequences: Consequences) -> None:
        """Show the parts; without any, the bar is hidden."""
        self.parts = consequences.parts()
        self.display = bool(self.parts)
        self.at = min(self.at, max(0, len(self.parts) - 1))
        self._place(self.size.width)
        self.refresh(layout=True)

    def _place(self, width: int) -> None:
        """Break the line between two parts, never within one."""
        x = y = 0
        self._places = []
        for part in self.parts:
            cells = cell_len(part.text)
            if x and x + cells > max(20, width):
                x, y = 0, y + 1
            self._places.append(Offset(x, y))
            x += cells + len(SEPARATOR)

    def render(self) -> Content:
        drawn: list[Content] = []
        for index, (part, place) in enumerate(zip(self.parts, self._places, strict=True)):
            if index:
                drawn.append(Content("\n") if place.x == 0 else Content.styled(SEPARATOR, "dim"))
            chosen = self.has_focus and index == self.at
            drawn.append(Content.styled(part.text, "reverse" if chosen else STYLES.get(part.kind, "")))
        return shown(Content.assemble(*drawn))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._place(width)
        return self._places[-1].y + 1 if self._places else 0

    @property
    def cursor_in_widget(self) -> Offset:
        """The position of the terminal's own cursor."""
        return self._places[self.at] if self._places else Offset(0, 0)

    def on_resize(self, event: Resize) -> None:
        self._place(self.size.width)
        self.refresh()

    def count(self) -> int:
        return len(self.parts)

    def part_at(self, offset: Offset) -> int:
        here = [index for index, place in enumerate(self._places) if place.y == offset.y and place.x <= offset.x]
        return here[-1] if here else 0

    def action_press(self) -> None:
        """Show the details of every part, the chosen one on top."""
        if self.parts:
            wizard(self).show(DetailsScreen(self.parts, self.at))


class DetailsScreen(Dialogue[None]):
    """The details of each part. Arrows scroll, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", id="details.close")]
    HELP = "review"
    NEEDS = ("#details Static",)

    def __init__(self, parts: tuple[Part, ...], first: int = 0) -> None:
        super().__init__()
        self._parts = parts
        self._first = first

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="details", classes="dialogue tall"):
            for index, part in enumerate(self._parts):
                yield Static(part.text, classes="heading", id=f"part-{index}")
                yield Static(id=f"details-{index}")
            yield Keys(((N_("arrows"), N_("Scroll")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.on_resize()
        self.query_one("#details").focus()
        self.call_after_refresh(self._show_first)

    def on_resize(self) -> None:
        """Wrap the details to the available width."""
        for index, part in enumerate(self._parts):
            for place in self.query(f"#details-{index}").results(Static):
                lines = part.details or (tr("No details."),)
                width = max(20, self.query_one("#details").size.width - 2)
                place.update("\n".join(line for text in lines for line in inset(redact(text), width)))

    @while_mounted
    def _show_first(self) -> None:
        for place in self.query(f"#part-{self._first}"):
            place.scroll_visible(animate=False, top=True)
