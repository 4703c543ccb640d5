"""Help for the screen that is open: what it is for, and its keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.helptexts import HELP, KEYS
from bai_wizard.tui.screens.base import Dialogue


class HelpScreen(Dialogue[None]):
    """Arrows scroll, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "Close", id="help.close")
    ]

    NEEDS = ("VerticalScroll",)

    def __init__(self, topic: str) -> None:
        super().__init__()
        self.topic = topic

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialogue tall"):
            yield Static(tr("Help"), markup=False, classes="title")
            yield Static(tr(HELP.get(self.topic, HELP["main"])), markup=False)
            yield Static(tr("Keys"), markup=False, classes="heading")
            yield Static("\n".join(f"{key:<14} {tr(text)}" for key, text in KEYS), markup=False)

    def begin(self) -> None:
        self.query_one(VerticalScroll).focus()
