"""How the screens begin, follow, stop, resume and undo runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from textual.signal import Signal

from bai_wizard import compose
from bai_wizard.core.consent import Consent
from bai_wizard.core.display import visible
from bai_wizard.core.errors import PlanOutdated, PreflightError, WizardError
from bai_wizard.core.event import Event
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.engine.events import RunInterrupted, size_of_events
from bai_wizard.engine.lock import StatePaths
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import ntr, tr
from bai_wizard.session import OpenRun, PlannedAt
from bai_wizard.ui.plans import outdated_or, reason_of
from bai_wizard.ui.progress import MAX_LINES, LogLine, RunProgress
from bai_wizard.ui.tui.base import WorkDone, run_in_thread
from bai_wizard.ui.tui.keeper import ask_for_root
from bai_wizard.ui.tui.screens.main import MainScreen

if TYPE_CHECKING:
    from bai_wizard.doctor.run import Verdict
    from bai_wizard.ui.tui.app import WizardApp
    from bai_wizard.ui.tui.screens.resume_undo import UndoScreen


# Lines per frame: as many as are drawn without a noticeable pause.
FRAME = 250


class Watcher:
    """Watches one run at a time.

    `moved` is published with the new lines, possibly none, when the progress has changed.
    """

    def __init__(self, app: WizardApp) -> None:
        self.app = app
        self.run: RunDirectory | None = None
        self.progress: RunProgress | None = None
        self.lines: deque[LogLine] = deque(maxlen=MAX_LINES)
        self.cut = False
        self.moved: Signal[list[LogLine]] = Signal(app, "moved")
        self._leave = threading.Event()
        # The id of the last event, and whether earlier lines of a long log were never read.
        self._last = 0
        self._has_gap = False

    @property
    def has_all_lines(self) -> bool:
        """Whether `lines` begins with the first line that was followed."""
        return not self._has_gap and len(self.lines) < (self.lines.maxlen or 0)

    @property
    def is_running(self) -> bool:
        return self.progress is not None and not self.progress.ended and not self.cut

    def watch(self, run: RunDirectory, progress: RunProgress, offset: int = 0, *, live: bool = True) -> None:
        """Follow a run from a byte offset of its events on; stops watching any other.

        `live`: its executor may still be about to write the first event.
        """
        self._leave.set()
        self._leave = threading.Event()
        self.lines.clear()
        self.cut = self._has_gap = False
        self._last = 0
        self.run = run
        self.progress = progress
        threading.Thread(target=self._follow, args=(run, offset, live, self._leave), daemon=True).start()
        self.moved.publish([])

    def leave(self) -> None:
        """Stop watching; the run continues."""
        self._leave.set()

    def _follow(self, run: RunDirectory, offset: int, live: bool, leave: threading.Event) -> None:
        """Read and hand over events, in a thread, waiting until the screen has processed them.

        A run whose records cannot be read counts as interrupted.
        """
        # Only the newest lines are shown. Those of an undo are its progress.
        newest = None if run.kind_told() == "undo" else MAX_LINES
        follow = self.app.session.follow(
            run, offset=offset, started=live, detached=leave.is_set, wait=leave.wait, newest=newest
        )
        try:
            for events in follow:
                for start in range(0, len(events), FRAME):
                    if not self._hand_over(events[start : start + FRAME], leave):
                        return
        except RunInterrupted:
            self.app.post_message(WorkDone(lambda: self._cut(leave)))
        except WizardError as error:
            reason = str(error)
            self.app.post_message(WorkDone(lambda: self._cut(leave, reason)))

    def _hand_over(self, events: list[Event], leave: threading.Event) -> bool:
        taken = threading.Event()
        if not self.app.post_message(WorkDone(lambda: self._take(events, taken, leave))):
            return False
        while not taken.wait(1.0):
            if leave.is_set() or not self.app.is_running:
                return False
        # Pause for a frame, so that keys are processed in between.
        return not leave.wait(1 / 60)

    def _take(self, events: list[Event], taken: threading.Event, leave: threading.Event) -> None:
        if leave is self._leave and self.progress is not None:
            lines = [line for event in events if (line := self.progress.apply_event(event)) is not None]
            self._has_gap = self._has_gap or 0 < self._last < events[0].id - 1
            self._last = events[-1].id
            self.lines.extend(lines)
            self.moved.publish(lines)
        taken.set()

    def _cut(self, leave: threading.Event, reason: str = "") -> None:
        if leave is self._leave:
            self.cut = True
            if reason:
                self.app.tell(reason, severity="warning")
            self.moved.publish([])


# The maximum number of characters of a log that are saved.
LONGEST_LOG = 64 << 20


class Runs:
    """The runs of this node as the screens see them. The run itself does not depend on any of this."""

    def __init__(self, app: WizardApp) -> None:
        self.app = app
        self._is_reported = True
        self._is_live = False
        self.interrupted: OpenRun | None = None
        # The answers as of the start of the current run, and the pages that it applies.
        self._applied = ""
        self._applied_pages: frozenset[str] = frozenset()
        # Whether the current run applies a fix of the doctor, and ends there.
        self._is_fix = False
        # Whether the current run was begun from its page, which stays open with the log docked in it.
        self._is_docked = False
        # How many changes the undo that is about to begin makes.
        self._changes = 0

    def begin(self) -> None:
        """Subscribe to the watcher, and attach to a run in progress."""
        self.app.watcher.moved.subscribe(self.app, self._moved)
        run_in_thread(self.app, self.app.session.open_run, self._found, self._warn)

    def _found(self, result: OpenRun | None) -> None:
        self._note(result)
        if result is not None and result.is_running and result.run is not None:
            self.app.tell(tr("A run is in progress on this node; it is shown here."))
            self._watch(result.run)

    def _warn(self, error: Exception) -> None:
        self.app.tell(reason_of(error), severity="warning")

    def _note(self, result: OpenRun | None) -> None:
        """Show on the pages that a run was interrupted, or is in progress but cannot be watched by this user."""
        self.interrupted = None if result is not None and result.is_running and result.run is not None else result
        text = _note_of(self.interrupted)
        for screen in self.app.screen_stack:
            if isinstance(screen, MainScreen):
                screen.show_note(text)

    def resume_interrupted(self) -> None:
        """Show the next attempt of the run that the pages report as interrupted."""
        if self.interrupted is not None and self.interrupted.run is not None:
            self.resume(self.interrupted.run)
        else:
            self.app.tell(_note_of(self.interrupted) or tr("No interrupted run to resume."))

    def apply(
        self,
        plan: Plan,
        desired: compose.DesiredState,
        consent: Collection[Consent],
        planned_at: PlannedAt,
        *,
        is_whole: bool,
    ) -> None:
        """Begin a run of a plan that was confirmed on the review screen; `is_whole`: no step was excluded from it."""
        session = self.app.session
        if not session.machine.is_root:
            ask_for_root(self.app)
            return
        self._is_fix = bool(desired.fix)
        self._is_docked = len(desired.pages) == 1 and not desired.fix
        self._applied = "" if desired.fix or not is_whole else self.app.plan_model.draft.handed_over()
        self._applied_pages = frozenset(desired.pages)

        def begun(run: RunDirectory) -> None:
            if self._applies_draft():
                self.app.keeper.applies(self._applied, run.id)
            self._watch(run)

        run_in_thread(self.app, lambda: session.begin(plan, desired, consent, planned_at), begun, self._refused)

    def _applies_draft(self) -> bool:
        """Whether the current run applies the draft as it is now, and all of it."""
        draft = self.app.plan_model.draft
        return self._applied == draft.handed_over() and draft.changed_pages() <= self._applied_pages

    def _refused(self, error: Exception) -> None:
        """Show why a run was not begun, and update the review that is based on an older state of the node."""
        from bai_wizard.ui.tui.screens.review import ReviewScreen

        self.app.tell(outdated_or(error), severity="error")
        if isinstance(self.app.screen, ReviewScreen):
            is_outdated = isinstance(error, PlanOutdated)
            (self.app.screen.plan_again if is_outdated else self.app.screen.look_again)()

    def _watch(self, run: RunDirectory, *, offset: int = 0, live: bool = True) -> None:
        def show(result: tuple[RunProgress, str]) -> None:
            from bai_wizard.ui.tui.screens.runs import RunScreen

            progress, reason = result
            if reason:
                self.app.tell(reason, severity="warning")
            self._is_reported = not live
            self._is_live = live
            self.app.watcher.watch(run, progress, offset, live=live)
            self.app.to_pages()
            if self._is_docked and live:
                self.app.call_later(self._dock)
            else:
                self.app.show(RunScreen())

        changes, self._changes = self._changes, 0
        run_in_thread(self.app, lambda: picture_of(run, self.app.session.paths, changes), show)

    def _moved(self, _lines: list[LogLine]) -> None:
        watcher, plan_model = self.app.watcher, self.app.plan_model
        progress = watcher.progress
        current = progress.current if progress is not None and watcher.is_running and self._is_live else None
        page = current.id.partition(".")[0] if current is not None else ""
        if page != plan_model.running_page:
            plan_model.running_page = page
            plan_model.tell()
        if not self._is_reported and not watcher.is_running and progress is not None:
            self._is_reported = True
            self._keep(progress)
            plan_model.recheck()
            run_in_thread(self.app, self.app.session.open_run, self._note, self._warn)
            self.app.call_later(self._tell_end)

    def _keep(self, progress: RunProgress) -> None:
        """Discard the draft of answers that are in effect."""
        is_done = progress.kind == "apply" and progress.result is not None and progress.result.code() == ExitCode.OK
        if is_done and self._applies_draft():
            self.app.keeper.saved(complete=True)
        self._applied = ""

    async def _dock(self) -> None:
        """Show the log of the run below the open page, which stays usable."""
        from bai_wizard.ui.tui.widgets.log import LogPanel

        main = self.app.screen
        if isinstance(main, MainScreen) and not main.query(LogPanel):
            await main.toggle_log()

    def _tell_end(self) -> None:
        """Ring the bell, and show the result; on other screens only a notice, which leaves the keyboard alone."""
        from bai_wizard.ui.tui.screens.result import headline
        from bai_wizard.ui.tui.screens.runs import RunScreen

        progress = self.app.watcher.progress
        if progress is None:
            return
        self.app.bell()
        if isinstance(self.app.screen, RunScreen):
            self.show_end()
            return
        is_done = progress.result is not None and progress.result.code() == ExitCode.OK
        text = tr("{headline} Press o to see the result.", headline=headline(progress))
        self.app.tell(text, severity="information" if is_done else "error")

    def show_end(self) -> None:
        """Show how the watched run ended."""
        from bai_wizard.ui.tui.screens.result import ResultScreen

        watcher = self.app.watcher
        if watcher.progress is not None:
            self.app.to_pages()
            screen = ResultScreen(watcher.progress, list(watcher.lines), self._asked_again, is_fix=self._is_fix)
            self.app.show(screen, self._what_now)

    def _asked_again(self) -> Verdict | None:
        from bai_wizard.doctor.run import recheck

        run = self.app.watcher.run
        return None if run is None else recheck(run, self.app.session.machine)

    def _what_now(self, key: str | None) -> None:
        run = self.app.watcher.run
        if run is None:
            return
        if key in ("retry", "skip"):
            failed = self.app.watcher.progress.failed() if self.app.watcher.progress else ()
            self.resume(run, without=frozenset(step.id for step in failed) if key == "skip" else frozenset())
        elif key == "undo":
            self.undo(run)
        elif key == "log":
            self.open(run)
        elif key == "doctor" or (key is None and self._is_fix):
            self.app.action_doctor()
        elif key == "reboot":
            self._offer_reboot()
        elif key == "report":
            self.app.save_report()
        elif key == "quit":
            self.app.action_leave()

    def open(self, run: RunDirectory) -> None:
        self._is_docked = False
        self._watch(run, live=self.app.session.is_alive(run))

    def stop(self) -> None:
        """Ask the watched run to stop after its current step."""
        if self.app.watcher.run is not None and self.app.watcher.is_running:
            self.app.session.stop(self.app.watcher.run)
            self.app.tell(tr("Stopping after the current step."))

    def resume(self, run: RunDirectory, without: frozenset[str] = frozenset()) -> None:
        """Plan another attempt at a run and show it before it begins."""
        from bai_wizard.ui.tui.screens.resume_undo import ResumeScreen

        if without:
            self.app.keeper.applies("", "")
        self.app.to_pages()
        screen = ResumeScreen(run, without)
        self.app.show(screen, lambda plan: self._again(run, plan, screen.consent(), screen.planned_at))

    def _again(
        self, run: RunDirectory, plan: Plan | None, consent: Collection[Consent], planned_at: PlannedAt
    ) -> None:
        if plan is None:
            return
        offset = size_of_events(run)
        session = self.app.session
        self._is_docked = False

        def begin() -> RunDirectory:
            session.begin_again(run, plan, consent, planned_at)
            return run

        run_in_thread(self.app, begin, lambda run: self._watch(run, offset=offset), self._refused)

    def undo(self, run: RunDirectory) -> None:
        from bai_wizard.ui.tui.screens.resume_undo import UndoScreen

        self.app.to_pages()
        screen = UndoScreen(run)
        self.app.show(screen, lambda sure: self._undo(run, screen) if sure else None)

    def _undo(self, run: RunDirectory, screen: UndoScreen) -> None:
        if not self.app.session.machine.is_root:
            ask_for_root(self.app)
            return
        consent, planned_at = screen.consent(), screen.planned_at
        self._is_docked, self._changes = False, screen.changes
        run_in_thread(
            self.app, lambda: self.app.session.begin_undo(run, consent, planned_at), self._watch, self._refused
        )

    def _offer_reboot(self) -> None:
        from bai_wizard.ui.tui.screens.dialogs import Question

        def reboot(key: str | None) -> None:
            if key:
                run_in_thread(self.app, self.app.session.reboot, self._rebooting, self._refused)

        text = tr("This stops everything that runs on this node. Afterwards, start bai-wizard or bai-wizard resume.")
        answers = {"": tr("Not now"), "reboot": tr("Reboot this node now")}
        self.app.show(Question(tr("Reboot this node"), text, answers), reboot)

    def _rebooting(self, _ordered: None) -> None:
        self.app.tell(tr("The node is rebooting."))

    def save_log(self) -> None:
        """Save the whole log from the events file, as text."""
        run = self.app.watcher.run
        if run is not None:
            self.app.ask_for_file(tr("Save log"), f"{run.id}.log", lambda: log_of(run))


def _note_of(result: OpenRun | None) -> str:
    """The note on the pages about a run that is not on the screen; empty without one."""
    if result is None:
        return ""
    if result.run is not None:
        return tr("Run {run} was interrupted. Press r to resume it.", run=result.id)
    if result.is_running:
        return tr("Run {run} is in progress; to watch: sudo bai-wizard attach", run=result.id)
    return tr("Run {run} was interrupted; to resume: sudo bai-wizard resume", run=result.id)


def picture_of(run: RunDirectory, paths: StatePaths, changes: int = 0) -> tuple[RunProgress, str]:
    """A run before its first event, and why its plan cannot be read, if so: its events then show its steps.

    `changes`: how many an undo is to make, if that is known.
    """
    from bai_wizard.steps import load_all
    from bai_wizard.ui.durations import history_of
    from bai_wizard.ui.progress import RunProgress

    load_all()
    try:
        history = history_of(paths)
        return RunProgress.of_plan(run.id, run.plan(), run.kind, history=history, changes=changes), ""
    except PreflightError as error:
        return RunProgress(run.id, run.kind_told() or "apply"), str(error)


def lines_of(run: RunDirectory) -> Iterator[LogLine]:
    """Every line of a run's log, from its events file."""
    from bai_wizard.engine.events import EventReader
    from bai_wizard.ui.progress import RunProgress

    reader, progress = EventReader(run), RunProgress(run.id)
    while events := reader.more():
        yield from (line for event in events if (line := progress.apply_event(event)) is not None)


def log_of(run: RunDirectory) -> str:
    """A run's log as text; only the end of a log longer than `LONGEST_LOG` characters."""
    lines: deque[str] = deque()
    length = left_out = 0
    for line in lines_of(run):
        lines.append(visible(str(line)))
        length += len(lines[-1]) + 1
        while length > LONGEST_LOG:
            length -= len(lines.popleft()) + 1
            left_out += 1
    if left_out:
        lines.appendleft(ntr("{count} earlier line omitted", "{count} earlier lines omitted", left_out))
    return "\n".join(lines) + "\n"
