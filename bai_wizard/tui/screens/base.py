"""What all screens have in common: the order of the focus, and a beginning when everything is there."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import TypeVar

from textual.screen import ModalScreen, Screen
from textual.widget import Widget

T = TypeVar("T")
# Seconds.
SOON = 0.005


class DomFocus:
    """Walks the focus in the order of the document, which is known before the first layout; Textual's is not."""

    # What has to be there before the screen begins; children of children are mounted a moment later.
    NEEDS: tuple[str, ...] = ()

    def on_mount(self) -> None:
        """Begins as soon as everything is there."""
        assert isinstance(self, Screen)
        if all(self.query(selector) for selector in self.NEEDS):
            self.call_later(self.begin)
        elif self.is_attached:
            self.set_timer(SOON, self.on_mount)

    def begin(self) -> Awaitable[None] | None:
        """What a screen does first."""

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
