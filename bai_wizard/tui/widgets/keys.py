"""The last line: which keys do what here. One widget that is drawn once, where Textual's footer mounts anew."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from bai_wizard.texts import tr


class Keys(Widget):
    """Pairs of a key and what it does; those that have no room are left to the help."""

    DEFAULT_CSS = """
    Keys { height: 1; width: 1fr; dock: bottom; padding: 0 1; text-wrap: nowrap; background: $panel; }
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(id="keys")
        self._pairs = tuple(pairs)

    def render(self) -> Content:
        parts: list[Content] = []
        room = self.size.width
        for key, text in (*self._pairs, ("?", "Help"), ("q", "Quit")):
            key, told = tr(key), tr(text)
            width = cell_len(key) + cell_len(told) + 3
            if width > room + 2:
                continue
            room -= width
            parts.append(Content.assemble((key, "bold"), " ", told))
        return Content("  ").join(parts)
