"""The node at a glance above the list of pages: bars for memory and file systems, accelerators, networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from bai_wizard.locale import tr
from bai_wizard.ui.tui.base import shown, while_mounted, wizard
from bai_wizard.ui.tui.widgets.list_box import cut

if TYPE_CHECKING:
    from bai_wizard.ui.overview import Gauge

# Lines of the screen that everything else needs, the least width of two columns, and cells of labels and of bars.
REST, TWO_COLUMNS, LABEL, BAR = 19, 100, 16, 20
# Shares from which a bar is a warning.
FULL = 0.9


class Overview(Widget):
    """As many lines as there is room for; what matters least is left out first."""

    DEFAULT_CSS = """
    Overview { height: auto; width: 1fr; padding: 0 1; border-bottom: solid $border; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__(id="overview")
        self._node: list[Gauge] = []
        self._cards: list[Gauge] = []

    def begin(self) -> None:
        """Start showing the node."""
        wizard(self).plan_model.moved.subscribe(self, self._moved)
        self._moved("")

    @while_mounted
    def _moved(self, _page: str) -> None:
        from bai_wizard.ui.overview import card_gauges, node_gauges

        facts = wizard(self).plan_model.fact_cache
        node, cards = list(node_gauges(facts.so_far("node"))), list(card_gauges(facts.so_far("accelerators")))
        if (node, cards) != (self._node, self._cards):
            self._node, self._cards = node, cards
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        room = max(2, self.app.size.height - REST)
        return max(1, min(room, self._needed(width)))

    def _needed(self, width: int) -> int:
        if width >= TWO_COLUMNS:
            return max(len(self._node), len(self._cards))
        return len(self._node) + len(self._cards)

    def render(self) -> Content:
        width, height = self.size.width, self.size.height
        if not self._node and not self._cards:
            return shown(Content.styled(tr("checking…"), "dim"))
        if width >= TWO_COLUMNS:
            left, right = self._node[:height], self._cards[:height]
            half = width // 2
            lines = []
            for index in range(max(len(left), len(right))):
                first = gauge_line(left[index], half - 2) if index < len(left) else Content("")
                second = gauge_line(right[index], width - half) if index < len(right) else Content("")
                lines.append(Content.assemble(first, " " * (half - first.cell_length), second))
            return shown(Content("\n").join(lines))
        # One column: the cards come after memory and disks.
        gauges = [*self._node[:3], *self._cards, *self._node[3:]]
        return shown(Content("\n").join(gauge_line(each, width) for each in gauges[:height]))


def gauge_line(gauge: Gauge, width: int) -> Content:
    """A label, a bar if there is a share, and the text."""
    label = cut(gauge.label, LABEL) + " "
    if gauge.share < 0:
        return Content(label + cut(gauge.text, max(4, width - LABEL - 1)).rstrip())
    bar = min(BAR, max(4, width - LABEL - 2 - cell_len(gauge.text)))
    full = round(min(1.0, gauge.share) * bar)
    style = "$text-error" if gauge.share >= FULL else "$text-primary"
    drawn = Content.assemble(("▮" * full, style), ("▯" * (bar - full), "$text-muted"))
    return Content.assemble(label, drawn, " ", set_cell_size(gauge.text, cell_len(gauge.text)))
