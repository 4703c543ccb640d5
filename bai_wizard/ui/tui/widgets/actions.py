"""A row of actions shown as `[ Apply ]`, and the last line with the keys of the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from bai_wizard.locale import N_, tr
from bai_wizard.ui.tui.base import Dialogue, shown


class PartRow(Widget, can_focus=True):
    """Parts beside each other: Left and Right move between them, Enter or Space activates the one at `at`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", "Left", show=False, id="actions.left"),
        Binding("right", "choose(1)", "Right", show=False, id="actions.right"),
        Binding("enter,space", "press", "Select", show=False, id="actions.press"),
    ]
    DEFAULT_CSS = """
    PartRow { height: auto; width: 1fr; padding: 0 1; text-wrap: nowrap; }
    """
    at: reactive[int] = reactive(0)

    def count(self) -> int:
        """How many parts there are."""
        raise NotImplementedError

    def part_at(self, offset: Offset) -> int:
        """The part at a cell of the widget."""
        raise NotImplementedError

    def action_choose(self, by: int) -> None:
        self.at = max(0, min(self.at + by, self.count() - 1))

    def action_press(self) -> None:
        """Activate the part at `at`."""
        raise NotImplementedError

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        if offset is not None and self.count():
            self.at = self.part_at(offset)
            self.action_press()


class Actions(PartRow):
    """A row of actions. One that is unavailable is in round brackets."""

    DEFAULT_CSS = """
    Actions { height: 1; }
    """

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

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__(id="actions")
        self._labels = dict(labels)
        self._off: set[str] = set()

    def relabel(self, key: str, label: str) -> None:
        """Rename an action; an empty name removes it."""
        if self._labels.get(key) != label:
            self._labels[key] = label
            self.refresh()

    def enable(self, key: str, on: bool) -> None:
        """Set whether an action is available."""
        before = set(self._off)
        self._off = self._off - {key} if on else self._off | {key}
        if self._off != before:
            self.refresh()

    def is_enabled(self, key: str) -> bool:
        return key not in self._off and bool(self._labels.get(key))

    def choose(self, key: str) -> None:
        self.at = [each for each, _ in self._shown()].index(key)

    def _shown(self) -> list[tuple[str, str]]:
        return [(key, label) for key, label in self._labels.items() if label]

    def render(self) -> Content:
        parts = []
        for index, (key, label) in enumerate(self._shown()):
            off = key in self._off
            text = Content(f"( {label} )" if off else f"[ {label} ]")
            if self.has_focus and index == self.at:
                text = text.stylize("reverse")
            elif off:
                text = text.stylize("dim")
            parts.append(text)
        return shown(Content("  ").join(parts))

    @property
    def cursor_in_widget(self) -> Offset:
        """The position of the terminal's own cursor."""
        return Offset(self._begins()[min(self.at, len(self._shown()) - 1)] + 2, 0)

    def _begins(self) -> list[int]:
        begins, index = [], 0
        for _, label in self._shown():
            begins.append(index)
            index += cell_len(label) + 6
        return begins

    def count(self) -> int:
        return len(self._shown())

    def part_at(self, offset: Offset) -> int:
        return max(index for index, begin in enumerate(self._begins()) if begin <= offset.x)

    def action_press(self) -> None:
        """Activate the action under the cursor, if it is available."""
        shown = self._shown()
        if shown and self.is_enabled(shown[self.at][0]):
            self.post_message(self.Pressed(self, shown[self.at][0]))


# The names of keys that are written differently for people.
NAMES = {
    "Space": "space", "Enter": "enter", "Esc": "escape", "Tab": "tab", "F1": "f1", "F3": "f3", "F8": "f8",
    "^p": "ctrl+p", "?": "question_mark", "/": "slash", "^r": "ctrl+r",
}  # fmt: skip


# Cells between two keys.
GAP = 2


def _width(key: str, text: str) -> int:
    """The cells of a key with its action."""
    return cell_len(tr(key)) + 1 + cell_len(tr(text))


class Keys(Widget):
    """Pairs of a key and its action, which can be clicked; those that do not fit are only shown in the help."""

    DEFAULT_CSS = """
    Keys { height: 1; width: 1fr; dock: bottom; padding: 0 1; text-wrap: nowrap; background: $panel; }
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(id="keys")
        self._pairs = tuple(pairs)
        self._typing = False
        # The first and last cell of each key that is shown.
        self._places: list[tuple[int, int, str]] = []

    def show(self, pairs: Sequence[tuple[str, str]], *, typing: bool = False) -> None:
        """Show other keys; `typing`: letters are input now."""
        if (tuple(pairs), typing) != (self._pairs, self._typing):
            self._pairs, self._typing = tuple(pairs), typing
            self.refresh()

    def _tail(self) -> tuple[tuple[str, str], ...]:
        # In a dialog, letters may be input: only F1 works everywhere.
        if isinstance(self.screen, Dialogue):
            return (("F1", N_("Help")),)
        if self._typing:
            return (("F1", N_("Help")), ("^p", N_("Commands")))
        return (("?", N_("Help")), ("^p", N_("Commands")), ("q", N_("Quit")))

    def render(self) -> Content:
        parts: list[Content] = []
        self._places = []
        begin, tail = 0, self._tail()
        # The last keys lead to all others: they are always shown.
        room = self.size.width - sum(_width(*pair) + GAP for pair in tail)
        for pair in (*self._pairs, *tail):
            width = _width(*pair)
            if pair not in tail and begin + width > room:
                continue
            self._places.append((begin, begin + width, NAMES.get(pair[0], pair[0])))
            begin += width + GAP
            parts.append(Content.assemble((tr(pair[0]), "bold"), " ", tr(pair[1])))
        return shown(Content(" " * GAP).join(parts))

    def on_click(self, event: Click) -> None:
        event.stop()
        offset = event.get_content_offset(self)
        for begin, end, key in self._places:
            if offset is not None and begin <= offset.x < end and (len(key) == 1 or key in NAMES.values()):
                self.app.simulate_key(key)
