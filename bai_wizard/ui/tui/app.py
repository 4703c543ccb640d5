"""The application: loading, the state that all screens share, and the actions available on every screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from bai_wizard.core.display import visible
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, load
from bai_wizard.ui.console import Console
from bai_wizard.ui.tui.base import WorkDone, run_in_thread
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.terminal import THEMES, CursorDriver, TerminalMixin
from bai_wizard.ui.tui.typeahead import TypeAheadMixin
from bai_wizard.ui.tui.widgets.list_box import short

if TYPE_CHECKING:
    from textual.theme import Theme

    from bai_wizard.core.page import Finding, Page
    from bai_wizard.session import Session
    from bai_wizard.ui.config import Config
    from bai_wizard.ui.draft import Draft, Secrets
    from bai_wizard.ui.tui.keeper import Keeper
    from bai_wizard.ui.tui.plan_model import PlanModel
    from bai_wizard.ui.tui.runs import Runs, Watcher


# Modules not needed for the first frame. Imported in a thread, so that neither it nor a key press waits.
LATE = (
    "bai_wizard.ui.tui.widgets.page",
    "bai_wizard.ui.tui.keeper",
    "bai_wizard.ui.tui.runs",
    "bai_wizard.ui.tui.plan_model",
    "bai_wizard.ui.draft",
)


T = TypeVar("T")
# The maximum number of notices on the screen: each is laid out again whenever the terminal is resized.
NOTICES = 3


class WizardApp(TypeAheadMixin, TerminalMixin, App[int]):  # pyright: ignore[reportIncompatibleMethodOverride]
    """The wizard on a full screen.

    The first frame shows the names of the pages. The node and the draft are loaded afterwards; until `is_open`, keys
    wait. `failure` is why loading failed; the screen is closed in that case.
    """

    TITLE = "bai-wizard"
    CSS_PATH = "styles/wizard.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("A", "review", "Apply all", id="app.review"),
        Binding("l", "log", "Log", id="app.log"),
        Binding("o", "result", "Result of the run", id="app.result", show=False),
        Binding("s", "save", "Save answers", id="app.save"),
        Binding("question_mark,f1", "show_help", "Help", id="app.help", key_display="?"),
        Binding("q", "leave", "Quit", id="app.quit"),
        Binding("ctrl+q,ctrl+c", "leave", "Quit", id="app.quit2", show=False),
        Binding("ctrl+z", "suspend_process", "Suspend", id="app.suspend", show=False),
    ]

    session: Session
    secrets: Secrets
    plan_model: PlanModel
    watcher: Watcher
    runs: Runs
    keeper: Keeper

    def __init__(
        self,
        opening: Callable[[], tuple[Session, Draft]],
        *,
        loader: Callable[[str], Page] = load,
        console: Console | None = None,
        words: Sequence[str] = (),
    ) -> None:
        self.console_kind = console or Console("screen")
        super().__init__(driver_class=CursorDriver)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.console_kind.theme
        self.words = tuple(words)
        self.is_open = False
        self.failure: Exception | None = None
        # Messages to print after the screen is closed.
        self.problems: list[str] = []
        self._opening = opening
        self._loader = loader
        self.hold_keys()

    def get_default_screen(self) -> MainScreen:
        return MainScreen()

    def on_mount(self) -> None:
        self.listen_to_signals()

    def open(self) -> None:
        """Load the node and the draft in a thread after the first frame, then show the first page."""
        run_in_thread(self, self._load, self._loaded, self._not_loaded)

    def _load(self) -> tuple[Session, Draft]:
        for module in LATE:
            import_module(module)
        self._loader(ORDER[0])
        return self._opening()

    def _not_loaded(self, error: Exception) -> None:
        self.failure = error
        self.exit()

    def _loaded(self, result: tuple[Session, Draft]) -> None:
        from bai_wizard.ui.draft import Secrets
        from bai_wizard.ui.plans import FactCache
        from bai_wizard.ui.tui.keeper import Keeper
        from bai_wizard.ui.tui.plan_model import PlanModel
        from bai_wizard.ui.tui.runs import Runs, Watcher

        self.session, draft = result
        self.secrets = Secrets()
        self.secrets.begin()
        self.plan_model = PlanModel(self, draft, FactCache(self.session.foreseen, self._loader))
        self.watcher = Watcher(self)
        self.runs = Runs(self)
        self.keeper = Keeper(self)
        self.is_open = True
        if not self.session.demo:
            # A demo reads and writes nothing of the real user.
            run_in_thread(self, self._load_config, self._configured, self._config_failed)
        self.call_later(self._show_pages)

    @staticmethod
    def _load_config() -> Config:
        from bai_wizard.ui.config import load

        return load()

    def _config_failed(self, error: Exception) -> None:
        from bai_wizard.ui.plans import reason_of

        self.tell(reason_of(error), severity="warning")

    def _configured(self, config: Config) -> None:
        """Use the user's keys and theme, and remember the theme that is chosen from now on."""
        if config.theme and config.theme not in self.available_themes:
            self.tell(tr("Unknown theme {name}.", name=config.theme), severity="warning")
        elif config.theme and "NO_COLOR" not in os.environ and not self.console_kind.serial:
            self.theme = config.theme
        if config.keymap:
            self.set_keymap(dict(config.keymap))
        self.theme_changed_signal.subscribe(self, self._remember_theme, immediate=True)

    def _remember_theme(self, theme: Theme) -> None:
        from bai_wizard.ui.config import save_theme

        run_in_thread(self, lambda: save_theme(theme.name), lambda _: None, self._config_failed)

    async def _show_pages(self) -> None:
        from bai_wizard.ui.saving import missing_answers

        if isinstance(self.screen, MainScreen):
            await self.screen.show_pages()
        self.plan_model.begin()
        self.runs.begin()
        self.keeper.begin()
        self.tell_left_out()
        left = missing_answers(self.plan_model.draft) if self.plan_model.draft.opened else []
        if left:
            self.tell(tr("The answers are incomplete: {what}", what="; ".join(left)), severity="warning")

    def tell_left_out(self) -> None:
        """List what is wrong with the parts of the opened file that no field can show."""
        from bai_wizard.ui.consequences import Part
        from bai_wizard.ui.tui.widgets.consequence_bar import DetailsScreen

        if left_out := self.plan_model.draft.left_out:
            title = tr("Not shown on any page, and not saved again:")
            self.show(DetailsScreen((Part("steps", title, "", tuple(map(str, left_out))),)))

    def on_work_done(self, came: WorkDone) -> None:
        came.take()

    def tell(self, text: str, severity: Literal["information", "warning", "error"] = "information") -> None:
        """Show a short notice; the text is never markup, and its control characters are escaped.

        Only a few are shown at a time, and none twice.
        """
        text = short(visible(text))
        shown = [each.message for each in self._notifications]
        if text in shown:
            return
        if len(shown) >= NOTICES:
            self.clear_notifications()
        self.notify(text, severity=severity, markup=False)

    def to_pages(self) -> None:
        """Close everything above the main screen, except a dialog with unsaved changes."""
        while len(self.screen_stack) > 1 and not getattr(self.screen, "holds_input", False):
            self.pop_screen()

    def go_to_page(self, page: str) -> None:
        """Close everything above the pages and open one of them, at its first problem or field."""
        self.to_pages()
        # The screen that asks for it is being closed, and whatever it awaits with it.
        self.call_later(self._open_page, page)

    async def _open_page(self, page: str) -> None:
        if isinstance(self.screen, MainScreen):
            await self.screen.go_to(page)

    def go_to_place(self, page: str, key: str) -> None:
        """Close everything above the pages, and go to a field or an object."""
        self.to_pages()
        self.call_later(self._open_place, page, key)

    async def _open_place(self, page: str, key: str) -> None:
        if isinstance(self.screen, MainScreen):
            await self.screen.go_to_place(page, key)

    async def show_again(self) -> None:
        """Redraw the open page after its values changed elsewhere."""
        main = self.screen_stack[0]
        if isinstance(main, MainScreen) and main.has_class("-open"):
            await main.open(main.page)

    def keep_draft(self) -> None:
        """Write the draft before returning: the wizard is about to exit."""
        if self.is_open:
            self.keeper.now()

    def show(self, screen: Screen[T], then: Callable[[T | None], None] | None = None) -> None:
        """Open a screen on behalf of the application: its result is delivered even if the screen below is closed."""
        self.call_later(self.push_screen, screen, then)

    def review(self, pages: Sequence[str] = ORDER) -> None:
        from bai_wizard.ui.tui.screens.review import ReviewScreen

        draft = self.plan_model.draft
        included = [page for page in pages if page not in draft.skipped]
        reason = tr("its form is incomplete")
        missing = {page: reason for page in included if not draft.is_valid(page)}
        if len(pages) == 1 and (missing or not included):
            reason = reason if missing else tr("it is skipped")
            self.tell(tr("This page cannot be applied: {reason}.", reason=reason), severity="warning")
        else:
            desired = draft.desired(included)
            self.show(ReviewScreen(desired, lambda: self.plan_model.fact_cache.fresh_plan(desired), missing))

    def action_review(self) -> None:
        self.review()

    def action_runs(self) -> None:
        from bai_wizard.ui.tui.screens.runs import RunsScreen

        self.show(RunsScreen())

    def action_doctor(self) -> None:
        from bai_wizard.ui.tui.screens.doctor import DoctorScreen

        self.show(DoctorScreen())

    def examine(self, only: Collection[str] = ()) -> list[Finding]:
        """The findings of all checks, or of some, on this node with the current answers. Call it in a thread."""
        from bai_wizard.doctor.run import all_checks, chosen_checks, examine

        desired = self.plan_model.draft.desired_to_probe()
        ignored = self.plan_model.draft.value("doctor", ("ignore",)) or {}
        return examine(chosen_checks(all_checks(), only), self.session.machine, desired.context, ignored)

    def action_result(self) -> None:
        """Show how the last run ended, or the run in progress."""
        from bai_wizard.ui.tui.screens.runs import RunScreen

        if self.watcher.progress is None:
            self.tell(tr("No run to show. Past runs are in the list on the left."))
        elif self.watcher.is_running:
            self.show(RunScreen())
        else:
            self.runs.show_end()

    async def action_log(self) -> None:
        """Show or hide the log; on screens other than the pages it is always visible."""
        if isinstance(self.screen, MainScreen):
            await self.screen.toggle_log()

    def action_show_help(self) -> None:
        """Explain the field that has, or last had, the cursor, and the open screen."""
        from bai_wizard.ui.tui.screens.help import HelpScreen
        from bai_wizard.ui.tui.widgets.page import PageView

        pages = self.screen.query(PageView)
        page = pages.first() if pages else self.screen
        self.show(HelpScreen(getattr(self.screen, "HELP", "") or "main", getattr(page, "helped", None)))

    def action_save(self) -> None:
        self.save_answers(lambda: None)

    def action_answers(self) -> None:
        """Compare the answers with their file and with the node; open and save files."""
        from bai_wizard.ui.tui.screens.answers import AnswersScreen

        self.show(AnswersScreen())

    def action_save_opened(self) -> None:
        """Save the answers to the file that is open."""
        from bai_wizard.answers.save import render
        from bai_wizard.ui.plans import reason_of
        from bai_wizard.ui.saving import path_of, save_text

        draft = self.plan_model.draft
        path, text = draft.opened, render(draft.to_save())

        def saved(message: str) -> None:
            self.tell(message)
            self._saved(path)

        run_in_thread(
            self,
            lambda: save_text(path_of(path), text),
            saved,
            lambda error: self.tell(reason_of(error), severity="error"),
        )

    def _saved(self, path: str) -> None:
        """Record that the answers are in a file, which is the open one from now on."""
        from bai_wizard.ui.saving import missing_answers
        from bai_wizard.ui.tui.screens.answers import AnswersScreen

        draft = self.plan_model.draft
        draft.opened, draft.left_out, draft.has_overrides = path, (), False
        left = missing_answers(draft)
        self.keeper.saved(complete=not left)
        if left:
            self.tell(tr("Saved, but still incomplete: {what}", what="; ".join(left)), severity="warning")
        if isinstance(self.screen, AnswersScreen):
            self.screen.compare()

    def save_answers(self, then: Callable[[], None]) -> None:
        """Ask where to save the answers, save them, and call `then` if they were saved."""
        from bai_wizard.answers.save import render

        draft = self.plan_model.draft

        def saved(path: str) -> None:
            self._saved(path)
            then()

        name = draft.opened or "answers.toml"
        self.ask_for_file(tr("Save answers"), name, lambda: render(draft.to_save()), saved)

    def save_report(self) -> None:
        from bai_wizard.compose import desired_from_json

        progress, session, watched = self.watcher.progress, self.session, self.watcher.run
        if progress is not None and progress.result is not None and watched is not None:
            run, result, desired = progress.run, progress.result, desired_from_json(watched.settings())
            self.ask_for_file(tr("Save report"), f"{run}.md", lambda: session.report(run, result, desired))

    def ask_for_file(
        self, title: str, name: str, text: Callable[[], str], then: Callable[[str], None] = lambda _path: None
    ) -> None:
        """Ask for a path, write the result of `text`, and call `then` with the path.

        Different existing content is backed up.
        """
        from bai_wizard.ui.plans import reason_of
        from bai_wizard.ui.saving import path_of, refuse_path, save_text, suggested
        from bai_wizard.ui.tui.screens.dialogs import LineQuestion

        def saved(message: str, path: str) -> None:
            self.tell(message)
            then(path)

        def failed(error: Exception) -> None:
            self.tell(reason_of(error), severity="error")

        def typed(path: str | None) -> None:
            if path:
                named = os.path.abspath(os.path.expanduser(path))
                run_in_thread(
                    self, lambda: save_text(path_of(path), text()), lambda message: saved(message, named), failed
                )

        self.show(LineQuestion(title, tr("File name:"), value=suggested(name), problem=refuse_path), typed)

    def action_leave(self) -> None:
        """Quit the wizard; a run continues without it."""
        from bai_wizard.ui.tui.screens.dialogs import Question

        if any(getattr(screen, "asks_to_leave", False) for screen in self.screen_stack):
            return
        if not self.watcher.is_running:
            self._leave()
            return
        run = self.watcher.run.id if self.watcher.run else ""
        text = tr("The run continues without this screen. To reconnect: bai-wizard attach {run}", run=run)
        quit = tr("Quit; the run continues")
        if self.session.demo:
            text = tr("This is a simulated node: its run ends when you quit.")
            quit = tr("Quit; the run ends")
        answers = {"quit": quit, "": tr("Cancel")}
        question = Question(tr("A run is in progress"), text, answers)
        question.asks_to_leave = True
        self.show(question, lambda key: self._leave() if key == "quit" else None)

    def _leave(self) -> None:
        """Quit the wizard, after a question if there are unsaved answers."""
        from bai_wizard.ui.tui.screens.dialogs import Question

        held = any(getattr(screen, "holds_input", False) for screen in self.screen_stack)
        if not held and not self.plan_model.draft.is_unsaved:
            self.exit(0)
            return
        text = tr("You have unsaved answers.")
        if held:
            text += " " + tr("An open dialog contains unsaved changes.")
        if not self.session.demo:
            text += " " + tr(
                "The next start will offer to continue with them; you will be asked for passwords again."
            )
        answers = {"save": tr("Save and quit"), "leave": tr("Quit without saving"), "": tr("Cancel")}
        question = Question(tr("Quit?"), text, answers)
        question.asks_to_leave = True
        self.show(question, self._leaves)

    def _leaves(self, answer: str | None) -> None:
        if answer == "leave":
            self.exit(0)
        elif answer == "save":
            self.save_answers(lambda: self.exit(0))

    def action_command_palette(self) -> None:
        """Show every command by name."""
        from bai_wizard.ui.tui.commands import Palette

        if self.is_open and not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette", placeholder=tr("Search for commands…")))

    def search_themes(self) -> None:
        """Show the themes to choose from."""
        from textual.theme import ThemeProvider

        from bai_wizard.ui.tui.commands import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder=tr("Search for themes…")))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action, for the command palette. Textual's own are excluded: its quit command does not ask first."""
        from bai_wizard.ui.tui.commands import commands

        yield from commands(self, screen)
