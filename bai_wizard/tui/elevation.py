"""Starting again as root: what was entered goes along, right or wrong; secrets are asked again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.core.errors import WizardError
from bai_wizard.texts import tr
from bai_wizard.tui.screens.ask import Question

if TYPE_CHECKING:
    from bai_wizard.tui.app import WizardApp


def offer(app: WizardApp) -> None:
    """Asks whether to start again under sudo, and does it."""
    text = tr(
        "Looking and planning work without root, changing the node does not. The wizard can start again with sudo: "
        "what you entered goes along, passwords are asked for again, and the plan is made and shown anew."
    )
    answers = {"sudo": tr("Start again with sudo"), "": tr("Stay, and change nothing")}
    app.show(Question(tr("This needs root"), text, answers), lambda key: restart(app) if key == "sudo" else None)


def restart(app: WizardApp) -> None:
    """Replaces this process by the same command as root. What stands in the way is told."""
    from bai_wizard.engine.launch.elevate import elevate

    file = _keep(app)
    try:
        words = [*_without_answers(app.words), "--handed-over", str(file)]
        with app.suspend():
            print(tr("What you entered is kept in {path} until the wizard has it again.", path=file))
            print(tr("sudo asks for your password, if it has to:"))
            elevate(words, ask=True)
    except WizardError as error:
        file.unlink()
        app.tell(str(error), severity="error")


def _keep(app: WizardApp) -> Path:
    """The draft in a file of the invoker's only, in memory where possible; the wizard of root removes it."""
    from tempfile import NamedTemporaryFile

    place = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = place if place and os.path.isdir(place) else None
    with NamedTemporaryFile("w", suffix=".json", prefix="bai-wizard-", dir=directory, delete=False) as file:
        file.write(app.surveyor.draft.handed_over())
    return Path(file.name)


def _without_answers(words: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--answers":
            skip = True
        elif not word.startswith("--answers="):
            kept.append(word)
    return kept
