"""The application: holds what all screens share, and the actions that every screen has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from bai_wizard.pages import ORDER, load
from bai_wizard.tui.background import Came
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.tui.surveyor import Surveyor
from bai_wizard.wizard.desk import Desk
from bai_wizard.wizard.draft import Draft
from bai_wizard.wizard.survey import Loader, Survey


class WizardApp(App[int]):
    """The wizard on a full screen."""

    TITLE = "bai-wizard"
    CSS_PATH = "styles/wizard.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("A", "review", "Apply all", id="app.review"),
        Binding("l", "log", "Log", id="app.log"),
        Binding("s", "save", "Save answers", id="app.save"),
        Binding("f1,question_mark", "show_help", "Help", id="app.help", key_display="?"),
        Binding("q", "leave", "Quit", id="app.quit"),
    ]

    def __init__(self, desk: Desk, draft: Draft, *, loader: Loader = load) -> None:
        super().__init__()
        self.desk = desk
        self.surveyor = Surveyor(self, draft, Survey(desk.machine, loader))

    def get_default_screen(self) -> MainScreen:
        return MainScreen()

    def on_mount(self) -> None:
        self.surveyor.begin()

    def on_came(self, came: Came) -> None:
        came.take()

    def what_node(self) -> Sequence[str]:
        """What this node is, in a few words."""
        return ()

    def review(self, pages: Sequence[str] = ORDER) -> None:
        """Shows what would be done on these pages, and asks."""

    def action_review(self) -> None:
        """Reviews everything."""
        self.review()

    def action_leave(self) -> None:
        """Ends the wizard."""
        self.exit(0)
