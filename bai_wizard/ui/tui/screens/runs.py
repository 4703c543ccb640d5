"""The runs of this node, newest first, and one run, live or past, with its steps and log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of
from bai_wizard.engine.durable import Damaged, open_record, read_end
from bai_wizard.engine.result import undo_counts
from bai_wizard.locale import N_, tr
from bai_wizard.pages import TITLES
from bai_wizard.session import Session
from bai_wizard.ui.consequences import SEPARATOR
from bai_wizard.ui.durations import duration, time_of
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.progress import LogLine, seconds_of
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, while_mounted, wizard
from bai_wizard.ui.tui.screens.dialogs import Question
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.list_box import ListBox
from bai_wizard.ui.tui.widgets.log import LOG_KEYS, LogPanel
from bai_wizard.ui.tui.widgets.row_list import RowList
from bai_wizard.ui.tui.widgets.run_head import RunHead
from bai_wizard.ui.tui.widgets.steps import Steps

# Bytes read for the first and the last event of a run.
READ = 1 << 16


class RunScreen(WizardScreen[None]):
    """Esc returns to the pages; the run continues."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop after this step", id="run.stop"),
        *(Binding(key, f"log_panel('{action}')", label) for key, action, label in LOG_KEYS),
    ]
    HELP = "run"
    NEEDS = ("#steps", "#log")

    def compose(self) -> ComposeResult:
        yield RunHead()
        with VerticalScroll(id="run-steps", can_focus=False):
            yield Steps()
        yield LogPanel(has_head=False)
        yield Actions({"stop": tr("Stop after this step"), "no": tr("Back to the pages")})
        # Translators: the least severe log messages that are shown
        level = ("v", N_("Level"))
        yield Keys(
            (
                ("Esc", N_("Pages")),
                ("x", N_("Stop after this step")),
                ("/", N_("Search")),
                ("e", N_("Next error")),
                ("p", N_("Page")),
                ("t", N_("Step")),
                level,
                ("z", N_("Wrap")),
                ("f", N_("Follow")),
                ("w", N_("Save log")),
                ("|", N_("Pager")),
            )
        )

    def begin(self) -> None:
        wizard(self).watcher.moved.subscribe(self, self._moved)
        self._moved([])
        self.query_one(Actions).choose("no")
        self.query_one(LogPanel).focus_log()

    def on_unmount(self) -> None:
        wizard(self).watcher.moved.unsubscribe(self)

    @while_mounted
    def _moved(self, _lines: list[LogLine]) -> None:
        watcher = wizard(self).watcher
        if watcher.progress is None:
            return
        self.query_one(Steps).show(watcher.progress.steps.values())
        self.query_one(Actions).enable("stop", watcher.is_running)

    @on(ListBox.Selected, "Steps")
    def _step_chosen(self) -> None:
        """Show only the lines of a step; a second time, all of them."""
        step = self.query_one(Steps).at_cursor()
        if step is not None:
            self.query_one(LogPanel).show_step(step.id)

    async def action_log_panel(self, action: str) -> None:
        """Keys of the log work wherever the focus is."""
        await self.query_one(LogPanel).run_action(action)

    def action_stop(self) -> None:
        """Ask the run to stop after its current step."""
        wizard(self).runs.stop()


class RunRow(NamedTuple):
    """A run in the list."""

    id: str
    run: RunDirectory | None = None


class RunList(RowList[RunRow]):
    """The runs, in two lines each: when and what, then how it ended, how long it took, and who began it."""

    def __init__(self) -> None:
        super().__init__("run-list")
        self._runs: list[tuple[RunDirectory, tuple[str, str]]] = []
        self._text = tr("checking…")

    def show(self, runs: list[tuple[RunDirectory, tuple[str, str]]], text: str) -> None:
        """Show these runs; the text if there are none."""
        self._runs, self._text = runs, text
        self.changed()

    def name_of(self, row: RunRow) -> object:
        return row.id

    def draw(self) -> Iterator[tuple[RunRow, Content]]:
        if not self._runs:
            yield from self.wrap(RunRow(""), "", self._text, "")
        for run, (what, how) in self._runs:
            row = RunRow(run.id, run)
            yield from self.wrap(row, "", what, "bold")
            yield from self.wrap(row, "    ", how, "")


class RunsScreen(WizardScreen[None]):
    """Enter on a run asks what to do with it."""

    HELP = "runs"
    NEEDS = ("#run-list",)

    def compose(self) -> ComposeResult:
        yield Static(tr("Past runs"), classes="title")
        with VerticalScroll(id="run-list-body", can_focus=False):
            yield RunList()
        yield Keys((("Enter", N_("Actions")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        session = wizard(self).session
        run_in_thread(
            self.app,
            lambda: [(run, run_texts(session, run)) for run in reversed(all_runs(session.paths))],
            self._found,
            self._not_found,
        )
        self.query_one(RunList).focus()

    def _found(self, runs: list[tuple[RunDirectory, tuple[str, str]]]) -> None:
        self.query_one(RunList).show(runs, tr("No runs on this node yet."))

    def _not_found(self, error: Exception) -> None:
        denied = tr("Run history is readable by root only; restart with sudo.")
        self.query_one(RunList).show([], denied if isinstance(error, PermissionError) else reason_of(error))

    def on_list_box_selected(self) -> None:
        row = self.query_one(RunList).row()
        run = row.run if row is not None else None
        if run is None:
            return
        answers = {"open": tr("View with log")}
        if not damage_of(run):
            is_interrupted = run.result() is None and not wizard(self).session.is_alive(run)
            if is_interrupted or ((run.result() or {}).get("code") not in (0, 6, None) and run.kind == "apply"):
                answers["resume"] = tr("Resume")
        if run.kind_told() == "apply":
            answers["undo"] = tr("Undo")
        wizard(self).show(
            Question(run.id, "\n".join(run_texts(wizard(self).session, run)), answers), lambda key: self._do(run, key)
        )

    def _do(self, run: RunDirectory, key: str | None) -> None:
        runs = wizard(self).runs
        if key == "open":
            runs.open(run)
        elif key == "resume":
            runs.resume(run)
        elif key == "undo":
            runs.undo(run)


RESULTS = {
    0: N_("done"),
    4: N_("failed"),
    5: N_("needs a reboot"),
    6: N_("optional steps failed"),
    130: N_("stopped"),
}


def run_texts(session: Session, run: RunDirectory) -> tuple[str, str]:
    """When a run was and what it was about; and how it ended, how long it took, and who began it."""
    if damage := damage_of(run):
        return f"{run.id}  {tr('damaged')}", tr(damage)
    about, result = run.metadata, run.result()
    if run.kind == "undo":
        what = tr("undo of {run}", run=about["undoes"])
    else:
        settings = run.settings()
        pages = ", ".join(tr(TITLES.get(page, page)) for page in map(str, settings.get("pages", ())))
        fix = settings.get("fix", "")
        what = tr("fix of {checks}", checks=fix.replace(",", ", ")) if fix else tr("apply {pages}", pages=pages)
    if result is not None:
        code = int(result["code"])
        state = tr(RESULTS[code]) if code in RESULTS else tr("exit code {code}", code=code)
        parts = [f"{state}, {counts_of(result)}"]
    else:
        parts = [tr("running") if session.is_alive(run) else tr("interrupted")]
    begun, ended = times_of(run)
    if result is not None and ended > begun:
        parts.append(duration(ended - begun))
    if about.get("by"):
        parts.append(tr("by {user}", user=about["by"]))
    return f"{local_date(str(about.get('created', '')))}  {what}", SEPARATOR.join([*parts, run.id])


def times_of(run: RunDirectory) -> tuple[float, float]:
    """When the first and the last event were written, in seconds since 1970; (0, 0) without events."""
    try:
        descriptor = open_record(run.events)
        try:
            first = json.loads(os.pread(descriptor, READ, 0).split(b"\n")[0])["t"]
        finally:
            os.close(descriptor)
        last = json.loads(read_end(run.events, READ).splitlines()[-1])["t"]
    except (OSError, Damaged, ValueError, KeyError, IndexError, TypeError):
        return 0.0, 0.0
    return seconds_of(str(first)), seconds_of(str(last))


def local_date(text: str) -> str:
    """The time at which a run was created, in the local time zone; as it is if it cannot be read."""
    try:
        return time_of(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return text


def counts_of(result: Mapping[str, Any]) -> str:
    """How many changes an undo made and kept, or how many steps of another run changed something or failed."""
    undone, kept = undo_counts(result)
    if undone is not None:
        parts = [tr("{count} undone", count=undone), tr("{count} kept", count=kept) if kept else ""]
    else:
        counts = result.get("counts", {})
        failed = counts.get("failed", 0)
        parts = [
            tr("{count} changed", count=counts.get("changed", 0)),
            tr("{count} failed", count=failed) if failed else "",
        ]
    return ", ".join(part for part in parts if part)
