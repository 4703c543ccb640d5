"""The command palette: every action with its name and help, made safe for any terminal size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.command import CommandList, CommandPalette
from textual.events import Click
from textual.screen import Screen

from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.ui.tui.base import Dialogue, SafeScreen
from bai_wizard.ui.tui.screens.main import MainScreen

if TYPE_CHECKING:
    from bai_wizard.ui.tui.app import WizardApp


def commands(app: WizardApp, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What can be done from anywhere, and on the pages, with the open page."""
    if isinstance(screen, Dialogue):
        # Input in a dialog is saved or discarded there, not by navigating elsewhere.
        yield SystemCommand(tr("Help"), tr("Explain this screen and its keys"), app.action_show_help)
        yield SystemCommand(tr("Quit"), tr("Quit the wizard; a run in progress continues"), app.action_leave)
        return
    if isinstance(screen, MainScreen):
        yield from _of_page(screen)
    for name in ORDER:
        title = tr(TITLES[name])
        yield SystemCommand(tr("Page: {title}", title=title), tr("Open this page"), partial(_open, app, name))
    yield SystemCommand(tr("Apply all"), tr("Review the whole plan, then apply it"), app.action_review)
    yield SystemCommand(tr("Refresh"), tr("Probe the whole node again"), app.plan_model.recheck)
    yield SystemCommand(tr("Save answers"), tr("Write a commented answers file"), app.action_save)
    yield SystemCommand(tr("Answers file"), tr("Open, save and compare answers files"), app.action_answers)
    yield SystemCommand(tr("Past runs"), tr("List, open, resume and undo runs"), app.action_runs)
    yield SystemCommand(tr("Troubleshoot"), tr("Diagnose this node and offer safe fixes"), app.action_doctor)
    yield SystemCommand(tr("Log"), tr("Show or hide the log of the run"), app.action_log)
    yield SystemCommand(tr("Result of the run"), tr("Show the run in progress, or how it ended"), app.action_result)
    yield SystemCommand(tr("Stop the run"), tr("Stop the run after its current step"), app.runs.stop)
    yield SystemCommand(tr("Save log"), tr("Write the log of the run to a file"), app.runs.save_log)
    yield SystemCommand(tr("Save report"), tr("Write the handover report of the run"), app.save_report)
    yield SystemCommand(tr("Theme"), tr("Change colors, including high contrast"), app.action_change_theme)
    yield SystemCommand(tr("Help"), tr("Explain this screen and its keys"), app.action_show_help)
    yield SystemCommand(tr("Suspend"), tr("Return to the shell until the job continues"), app.action_suspend_process)
    yield SystemCommand(tr("Quit"), tr("Quit the wizard; a run in progress continues"), app.action_leave)


def _of_page(screen: MainScreen) -> Iterator[SystemCommand]:
    yield SystemCommand(tr("Apply page"), tr("Review and apply the open page"), screen.action_apply_page)
    yield SystemCommand(tr("Diff"), tr("Show what the open page changes"), screen.action_diff)
    yield SystemCommand(tr("Search settings"), tr("Find a field or an object on any page"), screen.action_find)
    yield SystemCommand(tr("Next problem"), tr("Go to what is wrong or blocked"), partial(screen.action_problem, 1))
    yield SystemCommand(tr("Reset field"), tr("Set the field under the cursor to its default"), screen.action_reset)
    yield SystemCommand(tr("Reset page"), tr("Set all of its fields to their defaults"), screen.action_reset_page)
    yield SystemCommand(tr("Skip"), tr("Skip the open page, or include it again"), screen.action_skip)
    yield SystemCommand(tr("Resume"), tr("Resume the interrupted run"), screen.action_resume)
    yield SystemCommand(tr("Refresh page"), tr("Probe the node again for the open page"), screen.action_recheck)


async def _open(app: WizardApp, name: str) -> None:
    app.to_pages()
    if isinstance(app.screen, MainScreen):
        await app.screen.go_to(name)


# Textual's own search, without the decorator that makes it a worker.
SEARCH: Callable[[CommandPalette, str], Awaitable[None]] = CommandPalette._gather_commands.__wrapped__  # type: ignore[attr-defined]


class Commands(CommandList):
    """The list of results; it may have changed since the frame that was clicked on."""

    async def _on_click(self, event: Click) -> None:
        # Textual calls the handlers of all base classes unless the event prevents it.
        clicked = event.style.meta.get("option")
        if clicked is not None and clicked >= self.option_count:
            event.prevent_default()


class Palette(SafeScreen, CommandPalette):
    """Textual's palette, without its exceptions in edge cases."""

    DEFAULT_CSS = """
    Palette CommandList { min-width: 12; }
    """

    def compose(self) -> ComposeResult:
        for widget in super().compose():
            if type(widget) is CommandList:
                widget.__class__ = Commands
            yield widget

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        # The search starts some time after the key press, when the palette may be closing and its list removed.
        if self.query(CommandList):
            await SEARCH(self, search_value)

    def _action_command_list(self, action: str) -> None:
        commands = self.query_one(CommandList)
        # With no room for even a single line, there would be nothing to page from.
        if action.startswith("page_") and (commands.highlighted or 0) not in commands._index_to_line:
            return
        super()._action_command_list(action)
