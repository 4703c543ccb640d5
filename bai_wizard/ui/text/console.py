"""Text output on a terminal, rendered by rich: colored lines, tables, and the progress of a run.

Imported only for a terminal that shows colors. Foreign text is escaped, and never interpreted as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import IO, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from bai_wizard.core.display import VisibleStream, visible
from bai_wizard.core.event import Event
from bai_wizard.core.secret import redact

# The style of a line by how it begins; the first match counts.
HEADING = re.compile(r"\[[a-z]+\]")
LINE_STYLES = [
    (re.compile(pattern), style)
    for pattern, style in (
        (r"\s+(---|\+\+\+) ", "bold"),
        (r"\s+\+", "green"),
        (r"\s+-", "red"),
        (r"\s+~ ", "yellow"),
        (r"\s+@@ ", "cyan"),
        (r"PROBLEM|CHECK FAILED|failed: |[\d:]{8} \S+: failed", "bold red"),
        (r"WARNING|UNKNOWN|skipped: |kept|not (undone|set up)|\S+ would interrupt", "yellow"),
        (r"[\d:]{8} \S+: changed", "green"),
    )
]


class _Rendered:
    """The file that rich writes to: the stream, without escaping rich's own codes."""

    def __init__(self, stream: VisibleStream) -> None:
        self._stream = stream
        self.encoding = stream.encoding
        self.flush = stream.flush
        self.fileno = stream.fileno
        self.isatty = stream.isatty

    def write(self, text: str) -> int:
        self._stream.write_rendered(text)
        return len(text)


class _Console(Console):
    """Leaves the cursor visible, because a killed process could not restore it, and raises write errors."""

    def show_cursor(self, show: bool = True) -> bool:
        return False

    def on_broken_pipe(self) -> None:
        raise


class Terminal:
    """One stream that is a terminal."""

    def __init__(self, stream: VisibleStream) -> None:
        file = cast(IO[str], _Rendered(stream))
        self._console = _Console(file=file, force_terminal=True, highlight=False, markup=False, emoji=False)
        self._progress: Progress | None = None

    def print(self, text: str) -> None:
        """Print lines, each in the style of what it begins with; above the progress of a run, if it is shown."""
        lines = visible(redact(text)).split("\n")
        self._console.print(Text("\n").join(map(_styled, lines)), soft_wrap=True)

    def table(self, title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; without headers, the first column holds labels."""
        columns = headers or (Column(style="bold"), Column())
        table = Table(*columns, box=SIMPLE_HEAD if headers else None, show_header=bool(headers))
        if title:
            self._console.print(_escaped(title, "bold cyan"))
        for row in rows:
            table.add_row(*map(_escaped, row))
        self._console.print(table)

    def event(self, event: Event, line: str) -> None:
        """Show one event of a run: the progress moves, and the line is printed above it."""
        progress = self._progress = self._progress or self._begin()
        task = progress.task_ids[0]
        if event.kind == "run":
            progress.update(task, total=(event.data or {}).get("pending") or 1)
        elif event.kind in ("started", "progress"):
            done = f" {event.done}/{event.total}" if event.total else ""
            text = f"{event.step}: {event.text}{done}" if event.step else event.text
            progress.update(task, description=visible(redact(text), lines=False))
        elif event.kind == "finished":
            progress.advance(task)
        if line and event.kind != "progress":
            self.print(line)

    def stop(self) -> None:
        """Remove the progress of a run, if it is shown."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _begin(self) -> Progress:
        described = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=described),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )
        progress.add_task("", total=None)
        progress.start()
        return progress


def _escaped(value: str, style: str = "") -> Text:
    return Text(visible(redact(value), lines=False), style, overflow="fold")


def _styled(line: str) -> Text:
    text = Text(line, next((style for pattern, style in LINE_STYLES if pattern.match(line)), ""))
    if heading := HEADING.match(line):
        text.stylize("bold", 0, heading.end())
    return text
