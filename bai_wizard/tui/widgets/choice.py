"""Choices that read `(•) ( )` and `[X] [ ]`, a line each with its meaning, whatever the colours do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Place
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.shapes import Shape


def option_lines(
    options: Sequence[str], meanings: Mapping[str, str], chosen: Sequence[str], several: bool
) -> list[str]:
    """A line for each option: its glyph, its word, its meaning."""
    width = max((cell_len(word) for word in options), default=0)
    left, on, right = ("[", "X", "]") if several else ("(", "•", ")")
    drawn = []
    for word in options:
        gap = " " * (width - cell_len(word) + 2)
        glyph = f"{left}{on if word in chosen else ' '}{right}"
        drawn.append(f"{glyph} {word}{gap}{meanings.get(word, '')}".rstrip())
    return drawn


class ChoiceField(Field):
    """Yes or no, one of several, or some of several. Space and Enter choose, or turn over."""

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(shape, place, value)
        self.options = (tr("yes"),) if shape.sort == "yes-no" else shape.options
        self.meanings = {word: tr(text) for word, text in shape.note.choices.items()}
        first = next((at for at, word in enumerate(self.options) if word in self._chosen()), 0)
        self.set_reactive(ChoiceField.at, first)

    def _chosen(self) -> tuple[str, ...]:
        if self.shape.sort == "yes-no":
            return self.options if self.value else ()
        if self.shape.sort == "some-of":
            return tuple(str(word) for word in self.value or ())
        return (str(self.value),)

    def lines(self) -> list[str]:
        return option_lines(self.options, self.meanings, self._chosen(), self.shape.sort != "one-of")

    def help_of_line(self) -> str:
        word = self.options[self.at]
        return f"{word}: {self.meanings[word]}" if word in self.meanings else ""

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(self.lines_begin.x + 1, self.at)

    def taken(self, at: int) -> None:
        if self.shape.sort == "yes-no":
            self.tell(not self.value)
        elif self.shape.sort == "some-of":
            turned = {self.options[at]} ^ set(self._chosen())
            self.tell([word for word in self.options if word in turned])
        else:
            self.tell(self.options[at])
        self.refresh()


class Choice(Walk):
    """A list of words with their meanings, without a label; one of them is chosen."""

    chosen: reactive[str] = reactive("")

    class Chosen(Message):
        """Somebody chose."""

        def __init__(self, choice: Choice, word: str) -> None:
            super().__init__()
            self.choice = choice
            self.word = word

        @property
        def control(self) -> Choice:
            """The list."""
            return self.choice

    def __init__(
        self, options: Sequence[str], meanings: Mapping[str, str], chosen: str, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.options = tuple(options)
        self.meanings = dict(meanings)
        self.set_reactive(Choice.chosen, chosen)
        self.set_reactive(Choice.at, self.options.index(chosen) if chosen in self.options else 0)

    def lines(self) -> list[str]:
        return option_lines(self.options, self.meanings, (self.chosen,), False)

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, self.at)

    def taken(self, at: int) -> None:
        self.chosen = self.options[at]
        self.post_message(self.Chosen(self, self.chosen))


class Tick(Walk):
    """`[X] label`: yes or no, without a label's column."""

    value: reactive[bool] = reactive(False)

    class Turned(Message):
        """The tick was turned over by somebody."""

        def __init__(self, tick: Tick) -> None:
            super().__init__()
            self.tick = tick

        @property
        def control(self) -> Tick:
            """The tick."""
            return self.tick

    def __init__(self, label: str, value: bool, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.label = label
        self.set_reactive(Tick.value, value)

    def lines(self) -> list[str]:
        return [f"[{'X' if self.value else ' '}] {self.label}"]

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, 0)

    def taken(self, at: int) -> None:
        self.value = not self.value
        self.post_message(self.Turned(self))
