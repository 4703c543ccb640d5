"""The log with what one does with it: search, filter, hold, copy, save."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from bai_wizard.core.event import Level
from bai_wizard.pages import ORDER
from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.log import RunLog
from bai_wizard.wizard.picture import LogLine

LEVELS: tuple[Level, ...] = ("debug", "warning", "error")


class LogPanel(Vertical):
    """Slides up below the page; on a run's own screen it is always there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", id="log.search", key_display="/"),
        Binding("n", "next", "Next", id="log.next", show=False),
        Binding("p", "page", "Page", id="log.page"),
        Binding("v", "level", "Level", id="log.level"),
        Binding("f", "follow", "Follow", id="log.follow"),
        Binding("c", "copy", "Copy", id="log.copy"),
        Binding("w", "write", "Save log", id="log.save"),
        Binding("escape", "close", "Back", id="log.close", show=False),
    ]
    DEFAULT_CSS = """
    LogPanel { height: 1fr; border-top: solid $border; }
    LogPanel #log-status { height: 1; color: $text-muted; }
    LogPanel Input { display: none; height: 1; }
    LogPanel.-search Input { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="log-panel")
        self._found = -1

    def compose(self) -> ComposeResult:
        yield RunLog()
        yield Input(placeholder=tr("search, Enter: next, Esc: close"), compact=True, id="search")
        yield Static(markup=False, id="log-status")

    def on_mount(self) -> None:
        watcher = wizard(self).watcher
        watcher.moved.subscribe(self, self._moved)
        self.query_one(RunLog).fill(watcher.lines)
        self._tell()

    def on_unmount(self) -> None:
        wizard(self).watcher.moved.unsubscribe(self)

    def _moved(self, lines: list[LogLine]) -> None:
        log = self.query_one(RunLog)
        if not lines and not wizard(self).watcher.lines:
            log.clear()
        log.add(lines)
        self._tell()

    def _tell(self) -> None:
        log = self.query_one(RunLog)
        words = [tr("following") if log.is_vertical_scroll_end else tr("held (f: follow)")]
        words.append(tr("page {page}", page=log.page) if log.page else tr("all pages"))
        words.append({"debug": tr("all levels"), "warning": tr("warnings"), "error": tr("errors")}[log.level])
        self.query_one("#log-status", Static).update("  ".join(words))

    def _refill(self) -> None:
        self.query_one(RunLog).fill(wizard(self).watcher.lines)
        self._tell()

    def action_search(self) -> None:
        """Opens the search line."""
        self.add_class("-search")
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def action_next(self) -> None:
        """Goes to the next line that contains the words."""
        words = self.query_one(Input).value
        log = self.query_one(RunLog)
        self._found = log.find(words, self._found) if words else -1
        if self._found >= 0:
            log.scroll_to(y=self._found, animate=False)
        elif words:
            self.notify(tr("«{words}» does not occur in the log.", words=words), markup=False)

    def action_close(self) -> None:
        """Closes the search line first, and only then the screen."""
        if self.has_class("-search"):
            self.remove_class("-search")
            self.query_one(RunLog).focus()
        else:
            self.screen.query_one("#steps, #rail").focus()

    def action_page(self) -> None:
        """Shows one page's lines only; the next key press the next page's."""
        log = self.query_one(RunLog)
        pages = ("", *ORDER)
        log.page = pages[(pages.index(log.page) + 1) % len(pages)]
        self._refill()

    def action_level(self) -> None:
        """Everything, warnings and worse, errors."""
        log = self.query_one(RunLog)
        log.level = LEVELS[(LEVELS.index(log.level) + 1) % len(LEVELS)]
        self._refill()

    def action_follow(self) -> None:
        """Goes to the end and stays there."""
        self.query_one(RunLog).scroll_end(animate=False, immediate=True)
        self._tell()

    def action_copy(self) -> None:
        """Copies the lines in sight to the clipboard of the terminal (OSC 52)."""
        log = self.query_one(RunLog)
        top = int(log.scroll_y)
        self.app.copy_to_clipboard("\n".join(log.lines[top : top + log.size.height]))
        self.notify(tr("Copied what is in sight, if the terminal allows it."))

    def action_write(self) -> None:
        """Saves the log as a file."""
        wizard(self).runs.save_log()
