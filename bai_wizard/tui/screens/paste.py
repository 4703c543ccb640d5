"""Several lines at once, pasted or typed."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import Dialogue
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.lines import Lines


class PasteScreen(Dialogue[str]):
    """Returns the lines; Esc and Back return nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Back", id="paste.back")]
    HELP = "paste"

    def __init__(self, title: str, text: str, take: str) -> None:
        """`take`: what the button says that takes them."""
        super().__init__()
        self._title = title
        self._text = text
        self._take = take

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue tall"):
            yield Static(self._title, markup=False, classes="title")
            yield Static(self._text, markup=False)
            yield Lines("")
            yield Actions({"take": self._take, "no": tr("Back")})

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_take(self) -> None:
        """Takes what was pasted."""
        self.dismiss(self.query_one(Lines).text)

    def action_no(self) -> None:
        """Takes nothing."""
        self.dismiss("")


def rows_of(text: str) -> list[dict[str, Any]]:
    """Rows of [aliases] from lines of /etc/hosts. Lines without an address are left out."""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        entry, _, comment = line.partition("#")
        words = entry.split()
        if words:
            row: dict[str, Any] = {"ip": words[0], "names": words[1:]}
            rows.append({**row, "comment": comment.strip()} if comment.strip() else row)
    return rows
