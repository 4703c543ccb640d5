"""Small dialogues: a question with answers to choose from, and one with a line to type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import Dialogue
from bai_wizard.tui.widgets.walk import Walk


class Answers(Walk):
    """The answers in a line each."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__(id="answers")
        self.answers = dict(answers)

    def lines(self) -> list[str]:
        return [f"> {text}" for text in self.answers.values()]


class Question(Dialogue[str]):
    """Asks, and returns the key of the answer; Esc is the empty one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Back", id="ask.back")]
    HELP = "ask"

    def __init__(self, title: str, text: str, answers: Mapping[str, str]) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(self._title, markup=False, classes="title")
            yield Static(self._text, markup=False, classes="text")
            yield Answers(self._answers)

    def on_walk_taken(self, event: Walk.Taken) -> None:
        self.dismiss(list(self._answers)[event.at])

    def action_no(self) -> None:
        """Back, without an answer."""
        self.dismiss("")


class LineQuestion(Dialogue[str | None]):
    """Asks for one line; `refuse` says what is wrong with it, empty if nothing. Esc returns None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Back", id="ask.back")]
    HELP = "ask"

    def __init__(
        self,
        title: str,
        text: str,
        *,
        value: str = "",
        hidden: bool = False,
        refuse: Callable[[str], str] = lambda _text: "",
    ) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._value = value
        self._hidden = hidden
        self._refuse = refuse

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(self._title, markup=False, classes="title")
            yield Static(self._text, markup=False, classes="text")
            yield Input(self._value, password=self._hidden, compact=True, select_on_focus=False)
            yield Static(markup=False, id="refusal")
            yield Static(tr("Enter: take it   Esc: back"), markup=False, classes="keys")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        refusal = self._refuse(event.value)
        if refusal:
            self.query_one("#refusal", Static).update(f"! {refusal}")
        else:
            self.dismiss(event.value)

    def action_no(self) -> None:
        """Back, without an answer."""
        self.dismiss(None)
