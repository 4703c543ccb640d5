"""A row of actions that read `[ Apply ]`, one widget for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Actions(Widget, can_focus=True):
    """Left and Right choose, Enter or Space does. One that cannot be done now stands in round brackets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", "Left", show=False, id="actions.left"),
        Binding("right", "choose(1)", "Right", show=False, id="actions.right"),
        Binding("enter,space", "press", "Do it", show=False, id="actions.press"),
    ]
    DEFAULT_CSS = """
    Actions { height: 1; width: 1fr; padding: 0 1; text-wrap: nowrap; }
    """
    at: reactive[int] = reactive(0)

    class Pressed(Message):
        """An action was chosen."""

        def __init__(self, actions: Actions, key: str) -> None:
            super().__init__()
            self.actions = actions
            self.key = key

        @property
        def control(self) -> Actions:
            """The row."""
            return self.actions

    def __init__(self, labels: Mapping[str, str], *, id: str = "actions") -> None:
        super().__init__(id=id)
        self._labels = dict(labels)
        self._off: set[str] = set()

    def relabel(self, key: str, label: str) -> None:
        """Gives an action another name; an empty one takes it away."""
        if self._labels.get(key) != label:
            self._labels[key] = label
            self.refresh()

    def enable(self, key: str, on: bool) -> None:
        """Says whether an action can be done now."""
        before = set(self._off)
        self._off = self._off - {key} if on else self._off | {key}
        if self._off != before:
            self.refresh()

    def is_enabled(self, key: str) -> bool:
        """True when the action can be done now."""
        return key not in self._off and bool(self._labels.get(key))

    def choose(self, key: str) -> None:
        """Puts the cursor on an action."""
        self.at = [each for each, _ in self._shown()].index(key)

    def _shown(self) -> list[tuple[str, str]]:
        return [(key, label) for key, label in self._labels.items() if label]

    def render(self) -> Content:
        parts = []
        for place, (key, label) in enumerate(self._shown()):
            off = key in self._off
            text = Content(f"( {label} )" if off else f"[ {label} ]")
            if self.has_focus and place == self.at:
                text = text.stylize("reverse")
            elif off:
                text = text.stylize("dim")
            parts.append(text)
        return Content("  ").join(parts)

    @property
    def cursor_in_widget(self) -> Offset:
        """Where the terminal's own cursor belongs."""
        return Offset(self._begins()[min(self.at, len(self._shown()) - 1)] + 2, 0)

    def _begins(self) -> list[int]:
        begins, place = [], 0
        for _, label in self._shown():
            begins.append(place)
            place += cell_len(label) + 6
        return begins

    def action_choose(self, by: int) -> None:
        """Moves to the next action."""
        self.at = max(0, min(self.at + by, len(self._shown()) - 1))

    def action_press(self) -> None:
        """Does the action under the cursor, if it can be done."""
        shown = self._shown()
        if shown and self.is_enabled(shown[self.at][0]):
            self.post_message(self.Pressed(self, shown[self.at][0]))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is not None:
            self.at = max(place for place, begin in enumerate(self._begins()) if begin <= offset.x)
            self.action_press()
