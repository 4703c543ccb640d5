"""What comes behind the first picture: the node, the draft, and all that works on them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from bai_wizard.pages import ORDER
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.main import MainScreen

if TYPE_CHECKING:
    from bai_wizard.core.page import Page
    from bai_wizard.tui.app import WizardApp
    from bai_wizard.wizard.desk import Desk
    from bai_wizard.wizard.draft import Draft

# What the first picture does without. Imported in a thread, so that neither it nor a key waits.
LATE = (
    "bai_wizard.tui.pages.page",
    "bai_wizard.tui.runs",
    "bai_wizard.tui.surveyor",
    "bai_wizard.tui.watcher",
    "bai_wizard.tui.whatnode",
    "bai_wizard.wizard.secrets",
)


class Opening:
    """`get` gives the node and the draft; an error of it ends the wizard, and is left in the app's `failure`."""

    def __init__(self, app: WizardApp, get: Callable[[], tuple[Desk, Draft]], loader: Callable[[str], Page]) -> None:
        self.app = app
        self._get = get
        self._loader = loader

    def begin(self) -> None:
        """Imports and opens; the screen goes on meanwhile."""
        behind(self.app, self._open, self._opened)

    def _open(self) -> tuple[Desk, Draft]:
        for module in LATE:
            import_module(module)
        self._loader(ORDER[0])
        return self._get()

    def _opened(self, outcome: Outcome[tuple[Desk, Draft]]) -> None:
        app = self.app
        if outcome.error is not None:
            app.failure = outcome.error
            app.exit()
            return
        from bai_wizard.tui.runs import Runs
        from bai_wizard.tui.surveyor import Surveyor
        from bai_wizard.tui.watcher import Watcher
        from bai_wizard.wizard.secrets import Secrets
        from bai_wizard.wizard.survey import Survey

        app.desk, draft = outcome.get()
        app.secrets = Secrets()
        app.secrets.begin()
        app.surveyor = Surveyor(app, draft, Survey(app.desk.machine, self._loader))
        app.watcher = Watcher(app)
        app.runs = Runs(app)
        app.is_open = True
        app.call_later(self._show)

    async def _show(self) -> None:
        if isinstance(self.app.screen, MainScreen):
            await self.app.screen.show_pages()
        self.app.surveyor.begin()
        self.app.runs.begin()
