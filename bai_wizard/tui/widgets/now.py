"""What a page found on the node: a few lines, the rest when somebody wants them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.content import Content

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.walk import Walk, wrapped

# Lines shown before anybody asks for more, on a screen of this height.
FEW, HEIGHT = 6, 24
TURNS = "|/-\\"


class Now(Walk):
    """Pairs in two columns. A long list ends in a line that unfolds it; only then it takes the focus."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__(id="now")
        self._pairs: tuple[tuple[str, str], ...] = ()
        self._folded = True

    def show(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Draws these pairs."""
        if tuple(pairs) != self._pairs:
            self._pairs = tuple(pairs)
            self.changed()
        self.can_focus = len(self._all()) > self._few() + 1

    def lines(self) -> list[Content]:
        lines = [Content(line) for line in self._all()]
        few = self._few()
        if len(lines) <= few + 1:
            return lines
        if self._folded:
            return [*lines[:few], Content(tr("+ {count} more lines", count=len(lines) - few))]
        return [*lines, Content(tr("- fewer lines"))]

    def _few(self) -> int:
        """Lines that are always shown: more on a taller screen."""
        return max(FEW, self.app.size.height - HEIGHT + FEW)

    def _all(self) -> list[str]:
        return list(columns(self._pairs, self.size.width or 50))

    def taken(self, at: int) -> None:
        if self.can_focus:
            self._folded = not self._folded
            self.changed()
            self.at = len(self.lines()) - 1 if self._folded else at

    def on_resize(self) -> None:
        """The columns follow the width."""
        self.changed()


def spinner(spent: float) -> str:
    """A sign that turns, four times a second."""
    return TURNS[int(spent * 4) % len(TURNS)]


def columns(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Pairs in two columns, the second one wrapped below itself; one without a name takes the whole width."""
    first = min(width // 2, max((cell_len(what) for what, _ in pairs), default=0))
    for what, value in pairs:
        if not what:
            yield from wrapped(value, width)
            continue
        lines = wrapped(value, max(16, width - first - 2))
        if cell_len(what) > first and lines and cell_len(what) + 2 + cell_len(lines[0]) > width:
            # A name that leaves no room: the value stands below it.
            yield from wrapped(what, width)
            yield from ("    " + line for line in wrapped(value, width - 4))
            continue
        yield f"{what}{' ' * (first - cell_len(what))}  {lines[0] if lines else ''}"
        yield from (" " * (first + 2) + line for line in lines[1:])
