"""What the screens do with runs: begin, watch, stop, continue, take back."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bai_wizard import compose
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory
from bai_wizard.engine.run.follow import size_of_events
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.wizard.survey import reason_of

if TYPE_CHECKING:
    from bai_wizard.doctor.fix import Verdict
    from bai_wizard.tui.app import WizardApp
    from bai_wizard.wizard.picture import LogLine


class Runs:
    """The runs of this node as the screens see them. The run itself goes on without any of this."""

    def __init__(self, app: WizardApp) -> None:
        self.app = app
        self._is_told = True
        self._is_live = False

    def begin(self) -> None:
        """Listens to the watcher, and attaches to a run that is in progress."""
        self.app.watcher.moved.subscribe(self.app, self._moved)
        behind(self.app, self.app.desk.running, self._found)

    def _found(self, outcome: Outcome[RunDirectory | None]) -> None:
        if outcome.error is not None:
            self.app.tell(reason_of(outcome.error), severity="warning")
        elif (run := outcome.get()) is not None:
            self.app.tell(tr("A run is in progress on this node; this is it."))
            self._watch(run)

    def apply(self, plan: Plan, wish: compose.Wish, consent: Collection[str]) -> None:
        """Begins a run of a plan that was confirmed on the review screen."""
        desk = self.app.desk
        if not desk.machine.is_root:
            self.app.offer_root()
            return
        behind(self.app, lambda: desk.begin(plan, wish, consent), self._begun)

    def _begun(self, outcome: Outcome[RunDirectory]) -> None:
        if outcome.error is not None:
            self.app.tell(reason_of(outcome.error), severity="error")
            return
        self._watch(outcome.get())

    def _watch(self, run: RunDirectory, *, offset: int = 0, live: bool = True) -> None:
        from bai_wizard.tui.screens.run import RunScreen

        self._is_told = not live
        self._is_live = live
        self.app.watcher.watch(run, run.plan(), offset)
        self.app.to_pages()
        self.app.show(RunScreen())

    def _moved(self, _lines: list[LogLine]) -> None:
        watcher, surveyor = self.app.watcher, self.app.surveyor
        picture = watcher.picture
        current = picture.current if picture is not None and watcher.is_running and self._is_live else None
        page = current.id.partition(".")[0] if current is not None else ""
        if page != surveyor.running_page:
            surveyor.running_page = page
            surveyor.tell()
        if not self._is_told and not watcher.is_running and picture is not None:
            self._is_told = True
            surveyor.recheck()
            self.app.call_later(self.show_end)

    def show_end(self) -> None:
        """Shows how the run that is watched ended."""
        from bai_wizard.tui.screens.end import EndScreen

        watcher = self.app.watcher
        if watcher.picture is not None:
            self.app.to_pages()
            self.app.show(EndScreen(watcher.picture, list(watcher.lines), self._asked_again), self._what_now)

    def _asked_again(self) -> Verdict | None:
        from bai_wizard.doctor.fix import asked_again

        run = self.app.watcher.run
        return None if run is None else asked_again(run, self.app.desk.machine)

    def _what_now(self, key: str | None) -> None:
        run = self.app.watcher.run
        if run is None:
            return
        if key in ("retry", "skip"):
            failed = self.app.watcher.picture.failed() if self.app.watcher.picture else ()
            self.resume(run, without=frozenset(step.id for step in failed) if key == "skip" else frozenset())
        elif key == "undo":
            self.undo(run)
        elif key == "log":
            self.open(run)
        elif key == "doctor":
            self.app.action_doctor()
        elif key == "reboot":
            self._offer_reboot()
        elif key == "report":
            self.app.save_report()
        elif key == "quit":
            self.app.action_leave()

    def open(self, run: RunDirectory) -> None:
        """Shows a run from its first event, whether it goes on or is over."""
        self._watch(run, live=self.app.desk.is_alive(run))

    def stop(self) -> None:
        """Asks the run that is watched to end after the step that it is at."""
        if self.app.watcher.run is not None and self.app.watcher.is_running:
            self.app.desk.stop(self.app.watcher.run)
            self.app.tell(tr("The run stops after the step that it is at."))

    def resume(self, run: RunDirectory, without: frozenset[str] = frozenset()) -> None:
        """Plans a further attempt of a run and shows it before it begins."""
        from bai_wizard.tui.screens.again import AgainScreen

        self.app.to_pages()
        self.app.show(AgainScreen(run, without), lambda plan: self._again(run, plan))

    def _again(self, run: RunDirectory, plan: Plan | None) -> None:
        if plan is None:
            return
        offset = size_of_events(run)
        desk = self.app.desk

        def begin() -> RunDirectory:
            desk.begin_again(run, plan)
            return run

        def begun(outcome: Outcome[RunDirectory]) -> None:
            if outcome.error is not None:
                self.app.tell(reason_of(outcome.error), severity="error")
            else:
                self._watch(run, offset=offset)

        behind(self.app, begin, begun)

    def undo(self, run: RunDirectory) -> None:
        """Shows what taking a run back would do, and does it if that is wanted."""
        from bai_wizard.tui.screens.undo import UndoScreen

        self.app.to_pages()
        screen = UndoScreen(run)
        self.app.show(screen, lambda sure: self._undo(run, tuple(screen.hits)) if sure else None)

    def _undo(self, run: RunDirectory, consent: tuple[str, ...]) -> None:
        if not self.app.desk.machine.is_root:
            self.app.offer_root()
            return
        behind(self.app, lambda: self.app.desk.begin_undo(run, consent), self._begun)

    def _offer_reboot(self) -> None:
        from bai_wizard.tui.screens.ask import Question

        text = tr("Everything that runs on this node ends. Afterwards: bai-wizard, or bai-wizard resume.")
        answers = {"": tr("Not now"), "reboot": tr("Reboot this node now")}
        question = Question(tr("Reboot this node"), text, answers)
        self.app.show(question, lambda key: behind(self.app, self.app.desk.reboot, self._ordered) if key else None)

    def _ordered(self, outcome: Outcome[None]) -> None:
        if outcome.error is not None:
            self.app.tell(reason_of(outcome.error), severity="error")
        else:
            self.app.tell(tr("The node restarts."))

    def save_log(self) -> None:
        """Saves the whole log, which the file of events holds, as text."""
        run = self.app.watcher.run
        if run is not None:
            self.app.ask_for_file(tr("Save the log"), f"{run.id}.log", lambda: log_of(run))


def log_of(run: RunDirectory) -> str:
    """Every line of a run's log, from its file of events."""
    from bai_wizard.engine.run.follow import EventReader
    from bai_wizard.wizard.picture import Picture

    reader, picture = EventReader(run), Picture(run.id)
    lines: list[str] = []
    while events := reader.more():
        lines += [str(line) for event in events if (line := picture.take(event)) is not None]
    return "\n".join(lines) + "\n"
