"""The log of a run: follows its end unless somebody scrolled away, and never holds more than it can show."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widgets import Log

from bai_wizard.core.event import Level
from bai_wizard.tui.watcher import KEPT
from bai_wizard.wizard.picture import LogLine, matching


class RunLog(Log):
    """Lines of a run, of one page or level if wanted. Written once per batch: `Log` is slow line by line."""

    DEFAULT_CSS = """
    RunLog { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(max_lines=KEPT, highlight=False, id="log")
        self.page = ""
        self.level: Level = "debug"
        self.words = ""

    def fill(self, lines: Iterable[LogLine]) -> None:
        """Begins anew with these lines."""
        self.clear()
        self.add(list(lines))
        self.scroll_end(animate=False)

    def add(self, lines: list[LogLine]) -> None:
        """Adds the lines that the filter lets through; who has scrolled away stays where he is."""
        texts = [str(line).replace("\n", " ") for line in matching(lines, self.page, self.level, self.words)]
        if not texts:
            return
        follows = self.is_vertical_scroll_end
        before = len(self.lines)
        self.write_lines(texts, scroll_end=follows)
        dropped = before + len(texts) - len(self.lines)
        if dropped > 0 and not follows:
            self.scroll_to(y=max(0, self.scroll_y - dropped), animate=False, immediate=True)

    def find(self, words: str, after: int) -> int:
        """The next line below `after` that contains the words, from the top again at the end; -1 if none does."""
        wanted = words.lower()
        order = [*range(after + 1, len(self.lines)), *range(0, after + 1)]
        return next((place for place in order if place < len(self.lines) and wanted in self.lines[place].lower()), -1)
