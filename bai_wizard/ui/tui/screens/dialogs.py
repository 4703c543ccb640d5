"""Small dialogs: a question, one line, a password, several lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from bai_wizard.locale import tr
from bai_wizard.ui.tui.base import Dialogue, Static, wizard
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.lines import Lines
from bai_wizard.ui.tui.widgets.list_box import ItemList, short

T = TypeVar("T")


class Answers(ItemList[str]):
    """The answers, one per line; the items are their keys."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__("answers")
        self.items = [(f"> {text}", key) for key, text in answers.items()]


class TitledDialogue(Dialogue[T]):
    """A dialog with a title and a text above its input."""

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue"):
            yield Static(self._title, classes="title")
            yield Static(self._text, classes="text")
            yield from self.inputs()

    def inputs(self) -> ComposeResult:
        """The widgets below the text."""
        raise NotImplementedError

    def refuse(self, reason: str) -> None:
        """Show why the input cannot be accepted; an empty reason removes it."""
        self.query_one("#refusal", Static).update(short(f"! {reason}") if reason else "")


class Question(TitledDialogue[str]):
    """Asks, and returns the key of the answer; Esc returns nothing."""

    HELP = "ask"
    # True for the question before quitting, which is never asked twice.
    asks_to_leave = False

    def __init__(self, title: str, text: str, answers: Mapping[str, str]) -> None:
        super().__init__(title, text)
        self._answers = answers

    def inputs(self) -> ComposeResult:
        yield Answers(self._answers)

    def on_list_box_selected(self) -> None:
        self.dismiss(self.query_one(Answers).at_cursor())


class LineQuestion(TitledDialogue[str | None]):
    """Asks for one line; `problem` returns what is wrong with it, or an empty text. Esc returns None."""

    HELP = "ask"

    def __init__(
        self, title: str, text: str, *, value: str = "", problem: Callable[[str], str] = lambda _text: ""
    ) -> None:
        super().__init__(title, text)
        self._value = value
        self._problem = problem

    def inputs(self) -> ComposeResult:
        yield Input(self._value, compact=True, select_on_focus=False)
        yield Static(id="refusal")
        yield Static(tr("Enter: OK   Esc: Cancel"), classes="keys")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if problem := self._problem(event.value):
            self.refuse(problem)
        else:
            self.dismiss(event.value)


class PasswordQuestion(TitledDialogue[str | None]):
    """Asks for a password twice, with both inputs visible. `problem` returns what is wrong with it.

    Esc returns None.
    """

    HELP = "password"
    NEEDS = ("#again",)

    def __init__(self, title: str, problem: Callable[[str], str]) -> None:
        super().__init__(title, tr("Input is hidden and never saved."))
        self._problem = problem

    def inputs(self) -> ComposeResult:
        yield Input(password=True, compact=True, select_on_focus=False, id="first")
        yield Static(tr("Retype to confirm."), classes="text")
        yield Input(password=True, compact=True, select_on_focus=False, id="again")
        yield Static(id="refusal")
        yield Static(tr("Enter: OK   Esc: Cancel"), classes="keys")

    def begin(self) -> None:
        self.query_one("#first").focus()

    @on(Input.Submitted, "#first")
    def _entered(self) -> None:
        problem = self._problem(self.query_one("#first", Input).value)
        self.refuse(problem)
        if not problem:
            self.query_one("#again").focus()

    @on(Input.Submitted, "#again")
    def _confirmed(self) -> None:
        first, again = self.query_one("#first", Input), self.query_one("#again", Input)
        if problem := self._problem(first.value):
            self.refuse(problem)
            first.focus()
        elif first.value != again.value:
            # Either may contain the typo: the second is retyped, Up moves to the first.
            again.clear()
            self.refuse(tr("Passwords do not match. Retype the second one, or press Up to correct the first."))
        else:
            self.dismiss(first.value)


class EditDialogue(Dialogue[T]):
    """A dialog whose input would be lost if it were closed: Esc and Cancel ask first."""

    def action_take(self) -> None:
        """Accept the input."""
        raise NotImplementedError

    def action_no(self) -> None:
        """Close without a result, after a question if something was entered."""
        if not self.holds_input:
            self.dismiss()
            return
        answers = {"take": tr("Keep the changes"), "discard": tr("Discard the changes"), "": tr("Continue editing")}
        question = Question(tr("Keep the changes?"), tr("This dialog has unsaved changes."), answers)
        wizard(self).show(question, self._asked)

    def _asked(self, answer: str | None) -> None:
        if answer == "take":
            self.action_take()
        elif answer == "discard":
            self.dismiss()


class PasteScreen(EditDialogue[str]):
    """Asks for lines. `take`: the label of the button that accepts them."""

    HELP = "paste"

    def __init__(self, title: str, text: str, take: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._take = take

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue tall"):
            yield Static(self._title, classes="title")
            yield Static(self._text)
            yield Lines("")
            yield Actions({"take": self._take, "no": tr("Cancel")})

    def action_take(self) -> None:
        self.dismiss(self.query_one(Lines).text)

    @property
    def holds_input(self) -> bool:
        return any(lines.text.strip() for lines in self.query(Lines))


def rows_of(text: str) -> list[dict[str, Any]]:
    """Rows of [aliases] from lines of /etc/hosts. Lines without an address are left out."""
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        entry, _, comment = line.partition("#")
        words = entry.split()
        if words:
            row: dict[str, Any] = {"ip": words[0], "names": words[1:]}
            rows.append({**row, "comment": comment.strip()} if comment.strip() else row)
    return rows
