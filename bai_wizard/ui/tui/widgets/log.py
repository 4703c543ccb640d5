"""The log of a run: its last lines, search and filters over all of them, wrap, follow, copy, save and pager."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from typing import ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Log

from bai_wizard.core.display import visible
from bai_wizard.core.errors import ProgramMissing
from bai_wizard.core.event import Level
from bai_wizard.engine.directory import RunDirectory
from bai_wizard.locale import N_, tr
from bai_wizard.node.process import on_terminal
from bai_wizard.pages import TITLES
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.progress import MAX_LINES, LogFilter, LogLine
from bai_wizard.ui.tui.base import Static, run_in_thread, while_mounted, wizard
from bai_wizard.ui.tui.widgets.list_box import wrapped
from bai_wizard.ui.tui.widgets.run_head import RunHead

# Keys that also work where the log is on a run's own screen: key, action and label.
LOG_KEYS = (
    ("slash", "search", N_("Search")),
    ("n", "next", N_("Next match")),
    ("e", "next_error", N_("Next error")),
    ("p", "page", N_("Page")),
    ("t", "step", N_("Step")),
    ("v", "level", N_("Level")),
    ("z", "wrap", N_("Wrap")),
    ("f", "follow", N_("Follow")),
    ("c", "copy", N_("Copy")),
    ("w", "write", N_("Save log")),
    ("vertical_line", "pager", N_("Pager")),
)
LEVELS: tuple[Level, ...] = ("debug", "warning", "error")
# Lines before a match that are shown with it, if it is found in the file.
BEFORE = 500


class Matches(Highlighter):
    """Marks the words that are searched for."""

    def __init__(self, words: str) -> None:
        self.words = words

    def highlight(self, text: Text) -> None:
        """Mark every occurrence, whatever its case."""
        if self.words:
            text.highlight_words([self.words], "reverse", case_sensitive=False)


class RunLog(Log):
    """The last lines that pass the filter. Written in batches: `Log` is slow line by line."""

    DEFAULT_CSS = """
    RunLog { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(max_lines=MAX_LINES, highlight=False, id="log")
        self.filter = LogFilter()
        self.wraps = False
        # Whether the end was visible when the log was last scrolled: a lower log does not leave it.
        self._was_at_end = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._was_at_end = self.is_vertical_scroll_end

    def on_resize(self) -> None:
        if self._was_at_end:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def fill(self, lines: Iterable[LogLine]) -> None:
        """Show other lines, and the end of them."""
        self.clear()
        self.add(list(lines))
        self.scroll_end(animate=False)

    def mark(self, words: str) -> None:
        """Mark the words in all lines."""
        self.highlighter = Matches(words)
        self.highlight = bool(words)
        self._render_line_cache.clear()
        self.refresh()

    def add(self, lines: list[LogLine]) -> None:
        """Add the lines that pass the filter; the scroll position is kept if the user has scrolled away."""
        texts = list(self._texts(lines))
        if not texts:
            return
        follows = self.is_vertical_scroll_end
        before = len(self.lines)
        self.write_lines(texts, scroll_end=follows)
        dropped = before + len(texts) - len(self.lines)
        if dropped > 0 and not follows:
            self.scroll_to(y=max(0, self.scroll_y - dropped), animate=False, immediate=True)

    def _texts(self, lines: list[LogLine]) -> Iterator[str]:
        for line in lines:
            if self.filter.passes(line):
                text = visible(str(line).replace("\n", " "), lines=False)
                yield from wrapped(text, max(20, self.size.width - 2)) if self.wraps else (text,)

    def find(self, words: str, after: int) -> int:
        """The next line after `after` with the words, continuing from the top at the end; -1 without a match."""
        wanted = words.lower()
        order = [*range(after + 1, len(self.lines)), *range(0, after + 1)]
        return next(
            (location for location in order if location < len(self.lines) and wanted in self.lines[location].lower()),
            -1,
        )


class LogPanel(Vertical):
    """Below the page, with the head of the run; on a run's own screen below its steps."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, action, label, id=f"log.{action.replace('_', '-')}") for key, action, label in LOG_KEYS),
        Binding("escape", "close", "Back", id="log.close", show=False),
    ]
    DEFAULT_CSS = """
    LogPanel { height: 1fr; border-top: solid $border; }
    LogPanel #log-status { height: 1; color: $text-muted; }
    LogPanel Input { display: none; height: 1; }
    LogPanel.-search Input { display: block; }
    """

    def __init__(self, *, has_head: bool = True) -> None:
        super().__init__(id="log-panel")
        self._has_head = has_head
        self._match_line = -1
        # Whether lines from the middle of the file are shown: new lines are not added to them.
        self._is_apart = False

    def compose(self) -> ComposeResult:
        if self._has_head:
            yield RunHead()
        yield RunLog()
        yield Input(placeholder=tr("search, Enter: next, Esc: close"), compact=True, id="search")
        yield Static(id="log-status")

    def on_mount(self) -> None:
        watcher = wizard(self).watcher
        watcher.moved.subscribe(self, self._moved)
        self.query_one(RunLog).fill(watcher.lines)
        self._tell()

    def on_unmount(self) -> None:
        wizard(self).watcher.moved.unsubscribe(self)

    def focus_log(self) -> None:
        """Move to the lines, whose keys then work."""
        self.query_one(RunLog).focus()

    @while_mounted
    def _moved(self, lines: list[LogLine]) -> None:
        log = self.query_one(RunLog)
        if not lines and not wizard(self).watcher.lines:
            log.clear()
        if not self._is_apart:
            log.add(lines)
        self._tell()

    def _tell(self) -> None:
        log = self.query_one(RunLog)
        follows = log.is_vertical_scroll_end and not self._is_apart
        words = [tr("following") if follows else tr("paused (f to follow)")]
        page = tr(TITLES[log.filter.page]) if log.filter.page in TITLES else log.filter.page
        words.append(tr("page {page}", page=page) if page else tr("all pages"))
        words += [tr("step {step}", step=log.filter.step)] if log.filter.step else []
        words.append({"debug": tr("all levels"), "warning": tr("warnings"), "error": tr("errors")}[log.filter.level])
        self.query_one("#log-status", Static).update("  ".join(words), layout=False)

    def _show(self, new: LogFilter) -> None:
        """Filter all lines of the run: those on the screen at once, earlier ones as soon as they are read."""
        log, watcher = self.query_one(RunLog), wizard(self).watcher
        log.filter, self._is_apart, self._match_line = new, False, -1
        log.fill(watcher.lines)
        self._tell()
        run = watcher.run
        if run is not None and not watcher.has_all_lines and new != LogFilter():
            run_in_thread(
                self.app, lambda: last_lines(run, new), lambda lines: self._filtered(new, lines), self._warn
            )

    @while_mounted
    def _filtered(self, asked: LogFilter, lines: list[LogLine]) -> None:
        log = self.query_one(RunLog)
        if log.filter == asked:
            log.fill(lines)

    def _warn(self, error: Exception) -> None:
        wizard(self).tell(reason_of(error), severity="warning")

    def show_step(self, step: str) -> None:
        """Show only the lines of a step; the same one again shows all."""
        log = self.query_one(RunLog)
        self._show(log.filter._replace(step="" if log.filter.step == step else step, page=""))

    def action_search(self) -> None:
        self.add_class("-search")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.query_one(RunLog).mark(event.value)

    @on(Input.Submitted)
    def action_next(self) -> None:
        """Go to the next line that contains the words; if the kept lines have none, look in the file."""
        words = self.query_one(Input).value
        log = self.query_one(RunLog)
        self._match_line = log.find(words, self._match_line) if words else -1
        if self._match_line >= 0:
            self._go_to(self._match_line)
        elif words:
            self._search_file(words)

    @while_mounted
    def _go_to(self, line: int) -> None:
        self.query_one(RunLog).scroll_to(y=line, animate=False)
        self._tell()

    def _search_file(self, words: str) -> None:
        run, log = wizard(self).watcher.run, self.query_one(RunLog)
        if run is None:
            return
        asked = log.filter
        run_in_thread(
            self.app, lambda: lines_around(run, asked, words), lambda lines: self._found(words, lines), self._warn
        )

    @while_mounted
    def _found(self, words: str, lines: list[LogLine]) -> None:
        if not lines:
            wizard(self).tell(tr('No match for "{words}".', words=words))
            return
        log = self.query_one(RunLog)
        self._is_apart = True
        log.fill(lines)
        self._match_line = log.find(words, -1)
        self.call_after_refresh(self._go_to, self._match_line)

    def action_next_error(self) -> None:
        """Go to the next error or warning."""
        log = self.query_one(RunLog)
        top = int(log.scroll_y) if not log.is_vertical_scroll_end else -1
        at = log.find("  !! ", top)
        at = at if at >= 0 else log.find("  ! ", top)
        if at >= 0:
            self._go_to(at)
        else:
            wizard(self).tell(tr("The log has no errors and no warnings."))

    def action_close(self) -> None:
        """Close the search line first, and only then leave the log."""
        if self.has_class("-search"):
            self.remove_class("-search")
            self.query_one(RunLog).focus()
        elif rail := self.screen.query("#rail"):
            rail.first().focus()
        else:
            self.screen.dismiss()

    def action_page(self) -> None:
        """Show only one page's lines; the next key press shows the next page's."""
        log, progress = self.query_one(RunLog), wizard(self).watcher.progress
        pages = ["", *(progress.by_page() if progress is not None else ())]
        at = pages.index(log.filter.page) if log.filter.page in pages else -1
        self._show(LogFilter(pages[(at + 1) % len(pages)], "", log.filter.level))

    def action_step(self) -> None:
        """Show only the lines of the step that is running, or that failed; a second time, all of them."""
        log, progress = self.query_one(RunLog), wizard(self).watcher.progress
        if progress is None:
            return
        step = progress.current or next(iter(progress.failed()), None)
        if log.filter.step or step is None:
            self._show(log.filter._replace(step=""))
        else:
            self.show_step(step.id)

    def action_level(self) -> None:
        """Cycle through all levels, warnings and errors, and errors only."""
        log = self.query_one(RunLog)
        level = LEVELS[(LEVELS.index(log.filter.level) + 1) % len(LEVELS)]
        self._show(log.filter._replace(level=level))

    def action_wrap(self) -> None:
        """Wrap long lines, or show them in one piece: Left and Right then scroll sideways."""
        log = self.query_one(RunLog)
        log.wraps = not log.wraps
        self._show(log.filter)

    def action_follow(self) -> None:
        """Go to the end and follow it."""
        log = self.query_one(RunLog)
        if self._is_apart:
            self._show(log.filter)
        log.scroll_end(animate=False, immediate=True)
        self._tell()

    def action_copy(self) -> None:
        """Copy the visible lines to the clipboard of the terminal (OSC 52)."""
        log = self.query_one(RunLog)
        top = int(log.scroll_y)
        self.app.copy_to_clipboard("\n".join(log.lines[top : top + log.size.height]))
        wizard(self).tell(tr("Copied the visible lines (needs OSC 52)."))

    def action_write(self) -> None:
        wizard(self).runs.save_log()

    def action_pager(self) -> None:
        """Show the whole log in $PAGER, or in less."""
        run = wizard(self).watcher.run
        if run is not None:
            run_in_thread(self.app, lambda: pager_file(run), self._open_pager, self._warn)

    def _open_pager(self, path: str) -> None:
        """Like every program, the pager is found on the fixed search path only."""
        name, *options = shlex.split(os.environ.get("PAGER", "")) or ["less"]
        name = os.path.basename(name)
        try:
            with self.app.suspend():
                code = on_terminal([name, *options, path])
        except ProgramMissing as error:
            wizard(self).tell(tr(str(error)), severity="warning")
            return
        finally:
            os.unlink(path)
        if code:
            wizard(self).tell(tr("{program} ended with {code}.", program=name, code=code), severity="warning")
        self.app.refresh()


def last_lines(run: RunDirectory, wanted: LogFilter) -> list[LogLine]:
    """The last lines of a run that pass a filter, from its file."""
    from bai_wizard.ui.tui.runs import lines_of

    return list(deque((line for line in lines_of(run) if wanted.passes(line)), maxlen=MAX_LINES))


def lines_around(run: RunDirectory, wanted: LogFilter, words: str) -> list[LogLine]:
    """The lines around the last one of the file that contains the words; empty without a match."""
    from bai_wizard.ui.tui.runs import lines_of

    recent: deque[LogLine] = deque(maxlen=BEFORE)
    result: list[LogLine] = []
    for line in lines_of(run):
        if not wanted.passes(line):
            continue
        recent.append(line)
        if words.lower() in str(line).lower():
            result = list(recent)
        elif result and len(result) < MAX_LINES:
            result.append(line)
    return result


def pager_file(run: RunDirectory) -> str:
    """A temporary file with the whole log, readable by its owner only."""
    from bai_wizard.ui.tui.runs import log_of

    with tempfile.NamedTemporaryFile("w", prefix="bai-wizard-", suffix=".log", delete=False) as file:
        file.write(log_of(run))
    return file.name
