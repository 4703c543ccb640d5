"""The application: holds what all screens share, and the actions that every screen has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from bai_wizard.pages import ORDER, load
from bai_wizard.texts import tr
from bai_wizard.tui.background import Came, Outcome, behind
from bai_wizard.tui.opening import Opening
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.tui.terminal import CursorDriver, TerminalMixin
from bai_wizard.tui.themes import THEMES
from bai_wizard.tui.typeahead import TypeAheadMixin
from bai_wizard.wizard.console import Console

if TYPE_CHECKING:
    from bai_wizard.core.finding import Finding
    from bai_wizard.core.page import Page
    from bai_wizard.tui.runs import Runs
    from bai_wizard.tui.surveyor import Surveyor
    from bai_wizard.tui.watcher import Watcher
    from bai_wizard.wizard.desk import Desk
    from bai_wizard.wizard.draft import Draft
    from bai_wizard.wizard.secrets import Secrets

T = TypeVar("T")


class WizardApp(TypeAheadMixin, TerminalMixin, App[int]):
    """The wizard on a full screen.

    Its first picture is the names of the pages. The node and the draft come after it: until `is_open`, keys wait.
    `failure` is why they did not come; the screen is gone then.
    """

    TITLE = "bai-wizard"
    CSS_PATH = "styles/wizard.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("A", "review", "Apply all", id="app.review"),
        Binding("l", "log", "Log", id="app.log"),
        Binding("s", "save", "Save answers", id="app.save"),
        Binding("question_mark,f1", "show_help", "Help", id="app.help", key_display="?"),
        Binding("q", "leave", "Quit", id="app.quit"),
        Binding("ctrl+q,ctrl+c", "leave", "Quit", id="app.quit2", show=False),
    ]

    desk: Desk
    secrets: Secrets
    surveyor: Surveyor
    watcher: Watcher
    runs: Runs

    def __init__(
        self,
        opening: Callable[[], tuple[Desk, Draft]],
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
        self._opening = Opening(self, opening, loader)
        self.hold_keys()

    def get_default_screen(self) -> MainScreen:
        return MainScreen()

    def on_mount(self) -> None:
        self.listen_to_signals()

    def open(self) -> None:
        """Gets the node and the draft behind the first picture, then shows the first page."""
        self._opening.begin()

    def on_came(self, came: Came) -> None:
        came.take()

    def tell(self, text: str, severity: Literal["information", "warning", "error"] = "information") -> None:
        """A short notice; the text is never markup."""
        self.notify(text, severity=severity, markup=False)

    def to_pages(self) -> None:
        """Closes everything above the main screen."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def show(self, screen: Screen[T], then: Callable[[T | None], None] | None = None) -> None:
        """Opens a screen on behalf of the application: its outcome is heard even if the screen below is closed."""
        self.call_later(self.push_screen, screen, then)

    def what_node(self) -> Sequence[str]:
        """What this node is, in a few words."""
        from bai_wizard.tui.whatnode import words

        demo = [tr("demo: {name}", name=self.desk.demo)] if self.desk.demo else []
        return [*demo, *words(self.surveyor)]

    def review(self, pages: Sequence[str] = ORDER) -> None:
        """Shows what would be done on these pages, and asks."""
        from bai_wizard.tui.screens.review import ReviewScreen

        draft = self.surveyor.draft
        wanted = [page for page in pages if page not in draft.skipped]
        missing = tuple(tr(self.surveyor.survey.page(page).title) for page in wanted if not draft.is_valid(page))
        if len(pages) == 1 and (missing or not wanted):
            reason = tr("its form is not complete") if missing else tr("it is skipped")
            self.tell(tr("This page cannot be applied: {reason}.", reason=reason), severity="warning")
        else:
            wish = draft.wish(wanted)
            self.show(ReviewScreen(wish, lambda: self.surveyor.survey.fresh_plan(wish), missing))

    def action_review(self) -> None:
        """Reviews everything that is left to do."""
        self.review()

    def action_runs(self) -> None:
        """The runs of this node."""
        from bai_wizard.tui.screens.runs import RunsScreen

        self.show(RunsScreen())

    def action_doctor(self) -> None:
        """Finds out what is wrong with this node."""
        from bai_wizard.tui.screens.doctor import DoctorScreen

        self.show(DoctorScreen())

    def examine(self) -> list[Finding]:
        """Every check's finding on this node, as the answers stand. Takes seconds: call it behind the screen."""
        from bai_wizard.doctor.run import all_checks, examine

        wish = self.surveyor.draft.wish_to_look()
        ignored = self.surveyor.draft.value("doctor", ("ignore",)) or {}
        return examine(all_checks(), self.desk.machine, wish.context, ignored)

    async def action_log(self) -> None:
        """Shows or hides the log; on other screens than the pages it is there already."""
        if isinstance(self.screen, MainScreen):
            await self.screen.toggle_log()

    def action_show_help(self) -> None:
        """Explains the field that the cursor is in, or was last, and the screen that is open."""
        from bai_wizard.tui.pages.page import PageView
        from bai_wizard.tui.screens.help import HelpScreen

        pages = self.screen.query(PageView)
        asked = pages.first() if pages else self.screen
        self.show(HelpScreen(getattr(self.screen, "HELP", "") or "main", getattr(asked, "helped", None)))

    def action_save(self) -> None:
        """Saves the answers as they stand."""
        from bai_wizard.answers.save import render

        draft = self.surveyor.draft
        self.ask_for_file(tr("Save answers"), "answers.toml", lambda: render(draft.to_save()))

    def save_report(self) -> None:
        """Saves the handover report of the run that is watched."""
        picture, desk, wish = self.watcher.picture, self.desk, self.surveyor.draft.wish()
        if picture is not None and picture.result is not None:
            run, result = picture.run, picture.result
            self.ask_for_file(tr("Save the report"), f"{run}.md", lambda: desk.report(run, result, wish))

    def ask_for_file(self, title: str, name: str, text: Callable[[], str]) -> None:
        """Asks where to, and writes what `text` gives; an existing file of another content is kept beside."""
        from bai_wizard.tui.screens.ask import LineQuestion
        from bai_wizard.wizard.saving import refuse_path, save_text
        from bai_wizard.wizard.survey import reason_of

        def saved(outcome: Outcome[str]) -> None:
            if outcome.error is not None:
                self.tell(reason_of(outcome.error), severity="error")
            else:
                self.tell(outcome.get())

        def typed(path: str | None) -> None:
            if path:
                behind(self, lambda: save_text(Path(path).expanduser(), text()), saved)

        where = str(Path.cwd() / name)
        self.show(LineQuestion(title, tr("As which file?"), value=where, refuse=refuse_path), typed)

    def offer_root(self) -> None:
        """Offers to start again under sudo; what was typed is handed over as answers, secrets are asked again."""
        from bai_wizard.tui.elevation import offer

        offer(self)

    def action_leave(self) -> None:
        """Ends the wizard; a run goes on without it."""
        from bai_wizard.tui.screens.ask import Question

        if not self.watcher.is_running:
            self.exit(0)
            return
        run = self.watcher.run.id if self.watcher.run else ""
        text = tr("The run goes on without this screen. Come back with: bai-wizard attach {run}", run=run)
        if self.desk.demo:
            text = tr("This is a simulated node: its run ends with this screen.")
        answers = {"quit": tr("Quit, the run goes on"), "": tr("Stay")}
        self.show(
            Question(tr("A run is in progress"), text, answers), lambda key: self.exit(0) if key == "quit" else None
        )

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action, for the command palette. Textual's own are not among them: its way to quit asks nobody."""
        from bai_wizard.tui.commands import commands

        yield from commands(self, screen)
