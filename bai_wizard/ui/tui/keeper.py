"""Keep the draft: autosave, the offer to continue, and the handover to root's wizard."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.core.errors import WizardError
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import tr
from bai_wizard.ui.saving import Autosave, Offer, description_of
from bai_wizard.ui.tui.base import run_in_thread
from bai_wizard.ui.tui.screens.dialogs import Question

if TYPE_CHECKING:
    from textual.timer import Timer

    from bai_wizard.ui.tui.app import WizardApp


# Seconds without a key press before the draft is written, and the longest wait.
REST, MAX = 1.0, 5.0


class Keeper:
    """Saves nothing in a demo, which leaves no traces on the machine that it runs on."""

    def __init__(self, app: WizardApp) -> None:
        self.app = app
        self._autosave = None if app.session.demo else Autosave(app.plan_model.draft.host)
        self._timer: Timer | None = None
        self._since = 0.0
        self._is_written = self._is_writing = self._stays = False
        self._offers: list[Offer] = []
        # The draft that a run is to apply, and the ID of that run.
        self._applied, self._run = "", ""

    def begin(self) -> None:
        """Look for drafts left by earlier wizards, and offer the newest."""
        autosave = self._autosave
        if autosave is None:
            return
        if self.app.plan_model.draft.is_unsaved:
            # Handed over by a wizard without root, which is about to exit.
            self._write()
        run_in_thread(self.app, lambda: self._left(autosave), self._found, self._warn)

    def changed(self) -> None:
        """Schedule writing the draft."""
        if self._autosave is None:
            return
        self._stays = False
        now = time.monotonic()
        if self._timer is None:
            self._since = now
        elif now - self._since > MAX:
            return
        else:
            self._timer.stop()
        self._timer = self.app.set_timer(REST, self._write)

    def applies(self, text: str, run: str) -> None:
        """Record that a run applies everything in a draft, which ends with the run even if this wizard does not."""
        self._applied, self._run = text, run
        if self.app.plan_model.draft.is_unsaved:
            self._write()

    def saved(self, *, complete: bool) -> None:
        """Record that the answers are in a file or in effect.

        An incomplete file keeps the draft: it cannot be reopened.
        """
        self.app.plan_model.draft.mark_saved()
        if complete:
            self._write()
        else:
            self._stays = True

    def now(self) -> None:
        """Write the draft before returning: for signals, crashes and exit. Raises nothing."""
        try:
            self._sync(*self._state())
        except WizardError as error:
            self.app.problems.append(str(error))

    def _write(self) -> None:
        self._timer = None
        if self._is_writing:
            self.changed()
        elif self._autosave is not None:
            self._is_writing = True
            state = self._state()
            run_in_thread(self.app, lambda: self._sync(*state), self._wrote, self._not_written)

    def _state(self) -> tuple[str, frozenset[str], str]:
        """The draft, its changed pages and the run that applies it, read in the thread where it is edited."""
        draft = self.app.plan_model.draft
        text = draft.handed_over() if draft.is_unsaved else ""
        return text, draft.changed_pages(), self._run if text == self._applied else ""

    def _sync(self, text: str, pages: frozenset[str], run: str) -> None:
        draft, autosave = self.app.plan_model.draft, self._autosave
        if autosave is None:
            return
        if text:
            autosave.save(text, pages, run)
            self._is_written = True
            if draft.continues:
                autosave.remove(draft.continues)
                draft.continues = ""
        elif self._is_written and not self._stays:
            autosave.remove()
            self._is_written = False

    def _wrote(self, _written: None) -> None:
        self._is_writing = False

    def _not_written(self, error: Exception) -> None:
        self._is_writing = False
        reason = tr("Your answers cannot be saved automatically: {reason}", reason=str(error))
        self.app.tell(reason, severity="warning")

    def _warn(self, error: Exception) -> None:
        self.app.tell(str(error), severity="warning")

    def _left(self, autosave: Autosave) -> tuple[list[Offer], list[str]]:
        """The drafts to offer, and notes; drafts whose run has succeeded since are removed."""
        offers, notes = autosave.offers()
        left = []
        for offer in offers:
            code = self.app.session.exit_code_of(offer.run) if offer.run else ExitCode.INTERRUPTED
            if code == ExitCode.OK:
                autosave.remove(offer.name)
            elif code is not None:
                left.append(offer)
        return left, notes

    def _found(self, found: tuple[list[Offer], list[str]]) -> None:
        self._offers, notes = found
        for note in notes:
            self.app.tell(note, severity="warning")
        self._offer()

    def _offer(self) -> None:
        if not self._offers:
            return
        offer = self._offers.pop(0)
        answers = {"continue": tr("Continue"), "discard": tr("Discard"), "": tr("Ignore for now")}
        question = Question(tr("Continue where you left off?"), description_of(offer), answers)
        self.app.show(question, lambda answer: self._answered(offer, answer or ""))

    def _answered(self, offer: Offer, answer: str) -> None:
        autosave = self._autosave
        assert autosave is not None
        if answer == "continue":
            draft = self.app.plan_model.draft
            draft.take_over(offer.text)
            draft.continues = offer.name
            self.app.plan_model.edited()
            self.app.call_later(self.app.show_again)
            return
        if answer == "discard":
            run_in_thread(self.app, lambda: autosave.remove(offer.name), self._wrote, self._not_written)
        self._offer()


def ask_for_root(app: WizardApp) -> None:
    """Ask whether to restart under sudo, and do it."""
    text = tr(
        "You can inspect and plan without root; applying changes needs it. The wizard can restart with sudo: your "
        "answers are carried over, passwords are asked for again, and a new plan is shown."
    )
    answers = {"sudo": tr("Restart with sudo"), "": tr("Cancel")}
    app.show(
        Question(tr("Root required"), text, answers), lambda key: restart_as_root(app) if key == "sudo" else None
    )


def restart_as_root(app: WizardApp) -> None:
    """Replace this wizard with the same command run as root; continues if that could not be started."""
    from bai_wizard.engine.launch import run_elevated

    file = _write_handover(app)
    try:
        words = [*_without_answers(app.words), "--handed-over", str(file)]
        with app.suspend():
            print(tr("Your answers are kept in {path} until the wizard has restarted.", path=file))
            print(tr("sudo may ask for your password:"))
            code = run_elevated(words)
        has_started = not file.exists()
    except WizardError as error:
        app.tell(str(error), severity="error")
        return
    finally:
        file.unlink(missing_ok=True)
    if has_started:
        # Root's wizard saves the draft from its start on: this one's must not be offered as well.
        app.plan_model.draft.mark_saved()
        app.exit(code)
    else:
        app.tell(tr("The wizard could not be restarted as root (exit code {code}).", code=code), severity="error")


def _write_handover(app: WizardApp) -> Path:
    """Write the draft to a file that only the invoker can read, in memory if possible; root's wizard removes it."""
    from tempfile import NamedTemporaryFile

    location = os.environ.get("XDG_RUNTIME_DIR", "")
    directory = location if location and os.path.isdir(location) else None
    with NamedTemporaryFile("w", suffix=".json", prefix="bai-wizard-", dir=directory, delete=False) as file:
        file.write(app.plan_model.draft.handed_over())
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
