"""Every action with its name and help, for the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand

from bai_wizard.pages import ORDER
from bai_wizard.texts import tr
from bai_wizard.tui.screens.main import MainScreen

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp


def commands(app: WizardApp) -> Iterator[SystemCommand]:
    """What can be done from anywhere."""
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


async def _open(app: WizardApp, name: str) -> None:
    app.to_pages()
    if isinstance(app.screen, MainScreen):
        await app.screen.open(name)
