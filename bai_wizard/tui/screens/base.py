"""What all screens have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from textual.screen import ModalScreen, Screen
from textual.widget import Widget

T = TypeVar("T")


class DomFocus:
    """Walks the focus in the order of the document, known before the first layout; Textual asks the layout."""

    @property
    def focus_chain(self) -> list[Widget]:
        """The widgets that may have the focus, in their order."""
        assert isinstance(self, Screen)
        return [widget for widget in _shown(self) if widget.focusable]

    def action_step(self, by: int) -> None:
        """Goes one field on or back, for those who have arrows only."""
        assert isinstance(self, Screen)
        if by < 0:
            self.focus_previous()
        else:
            self.focus_next()


def _shown(widget: Widget) -> Iterator[Widget]:
    for child in widget.displayed_children:
        yield child
        yield from _shown(child)


class WizardScreen(DomFocus, Screen[T]):
    """A screen of the wizard, narrow below 100 columns."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual declares it


class Dialogue(DomFocus, ModalScreen[T]):
    """A small screen above another one."""
