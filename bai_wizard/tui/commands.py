"""Every action with its name and help, for the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import SystemCommand
from textual.screen import Screen

from bai_wizard.pages import ORDER
from bai_wizard.texts import tr
from bai_wizard.tui.screens.main import MainScreen

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp


def commands(app: WizardApp, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What can be done from anywhere, and, from the pages, with the one that is open."""
    if isinstance(screen, MainScreen):
        yield from _of_page(screen)
    for name in ORDER:
        title = tr(app.surveyor.survey.page(name).title)
        yield SystemCommand(tr("Page: {title}", title=title), tr("Open this page"), partial(_open, app, name))
    yield SystemCommand(tr("Apply all"), tr("Review the whole plan, then apply it"), app.action_review)
    yield SystemCommand(tr("Look again"), tr("Look at the whole node anew"), app.surveyor.recheck)
    yield SystemCommand(tr("Save answers"), tr("Write a commented answers file"), app.action_save)
    yield SystemCommand(tr("Past runs"), tr("List, open, continue and take back runs"), app.action_runs)
    yield SystemCommand(tr("Troubleshoot"), tr("Find out what is wrong with this node"), app.action_doctor)
    yield SystemCommand(tr("Log"), tr("Show or hide the log of the run"), app.action_log)
    yield SystemCommand(tr("Stop the run"), tr("Ask the run to end after the step that it is at"), app.runs.stop)
    yield SystemCommand(tr("Save the log"), tr("Write the log of the run into a file"), app.runs.save_log)
    yield SystemCommand(tr("Save the report"), tr("Write the handover report of the run"), app.save_report)
    yield SystemCommand(tr("Colours"), tr("Other colours, high contrast among them"), app.action_change_theme)
    yield SystemCommand(tr("Help"), tr("What this screen is for, and its keys"), app.action_show_help)
    yield SystemCommand(tr("Quit"), tr("End the wizard; a run goes on"), app.action_leave)


def _of_page(screen: MainScreen) -> Iterator[SystemCommand]:
    yield SystemCommand(tr("Apply page"), tr("Review, then apply, the page that is open"), screen.action_apply_page)
    yield SystemCommand(tr("Diff"), tr("Show what the open page changes"), screen.action_diff)
    yield SystemCommand(tr("Skip"), tr("Leave the open page alone, or take it up again"), screen.action_skip)
    yield SystemCommand(tr("Look at this page again"), tr("Look at the node anew"), screen.action_recheck)


async def _open(app: WizardApp, name: str) -> None:
    app.to_pages()
    if isinstance(app.screen, MainScreen):
        await app.screen.open(name)
