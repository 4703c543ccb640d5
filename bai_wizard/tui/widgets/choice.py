"""One of several, or some of several, that read `(•) ( )` and `[X] [ ]`, a line each with its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from textual.geometry import Offset
from textual.message import Message
from textual.reactive import reactive

from bai_wizard.tui.widgets.walk import Walk


class Choice(Walk):
    """A list of words with their meanings; Space or Enter chooses, or turns over where several are possible."""

    chosen: reactive[frozenset[str]] = reactive(frozenset())

    class Chosen(Message):
        """Somebody chose; `words` are in the order of the options."""

        def __init__(self, choice: Choice, words: tuple[str, ...]) -> None:
            super().__init__()
            self.choice = choice
            self.words = words

        @property
        def control(self) -> Choice:
            """The list."""
            return self.choice

    def __init__(
        self,
        options: Sequence[str],
        meanings: Mapping[str, str],
        chosen: Sequence[str],
        *,
        several: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.options = tuple(options)
        self.meanings = dict(meanings)
        self.several = several
        self.set_reactive(Choice.chosen, frozenset(chosen))
        first = next((place for place, word in enumerate(self.options) if word in self.chosen), 0)
        self.set_reactive(Choice.at, first)

    def lines(self) -> list[str]:
        width = max((cell_len(word) for word in self.options), default=0)
        left, on, right = ("[", "X", "]") if self.several else ("(", "•", ")")
        drawn = []
        for word in self.options:
            glyph = f"{left}{on if word in self.chosen else ' '}{right}"
            gap = " " * (width - cell_len(word) + 2)
            drawn.append(f"{glyph} {word}{gap}{self.meanings.get(word, '')}".rstrip())
        return drawn

    def help_of_line(self) -> str:
        word = self.options[self.at]
        return f"{word}: {self.meanings[word]}" if word in self.meanings else ""

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, self.at)

    def taken(self, at: int) -> None:
        word = self.options[at]
        self.chosen = self.chosen ^ {word} if self.several else frozenset({word})
        self.post_message(self.Chosen(self, tuple(each for each in self.options if each in self.chosen)))


class Tick(Choice):
    """A yes-no field: `[X]` or `[ ]` and what it is about."""

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
        super().__init__((label,), {}, (label,) if value else (), several=True, id=id)

    @property
    def value(self) -> bool:
        """On or off."""
        return bool(self.chosen)

    @value.setter
    def value(self, value: bool) -> None:
        self.chosen = frozenset(self.options) if value else frozenset()

    def taken(self, at: int) -> None:
        self.value = not self.value
        self.post_message(self.Turned(self))
