"""A field of a form: its label, its control, and the reason beside it when the value is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import DescendantFocus
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Changed, Place
from bai_wizard.tui.widgets.choice import Choice, Tick
from bai_wizard.tui.widgets.lines import Lines
from bai_wizard.wizard.shapes import Shape
from bai_wizard.wizard.values import from_lines, from_text, to_lines, to_text


class Field(Widget):
    """One field whose value a single control can hold."""

    DEFAULT_CSS = """
    Field { height: auto; layout: vertical; }
    Field > Horizontal { height: auto; }
    Field .label { width: 20; padding-right: 1; }
    Field .trouble { display: none; padding-left: 20; color: $text-error; }
    Field.-wrong .trouble { display: block; }
    """

    class Focused(Message):
        """The cursor came into this field: its help is wanted."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(id="field-" + "-".join(str(part) for part in place.path), classes="field")
        self.shape = shape
        self.place = place
        self._value = value
        self._trouble = Static(markup=False, classes="trouble")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(tr(self.shape.note.label), markup=False, classes="label")
            yield from self.controls()
        yield self._trouble

    def controls(self) -> Iterator[Widget]:
        """The control for the shape."""
        shape, value, note = self.shape, self._value, self.shape.note
        if shape.sort == "yes-no":
            yield Tick(tr("yes"), bool(value))
        elif shape.sort in ("one-of", "some-of"):
            chosen = tuple(value or ()) if shape.sort == "some-of" else (str(value),)
            meanings = {word: tr(text) for word, text in note.choices.items()}
            yield Choice(shape.options, meanings, chosen, several=shape.sort == "some-of")
        elif shape.sort in ("lines", "pairs"):
            yield Lines(to_lines(value))
        else:
            yield Input(
                to_text(value),
                placeholder=_hint(shape),
                password=shape.sort == "hash",
                compact=True,
                select_on_focus=False,
            )
            if note.unit:
                yield Static(f" {note.unit}", markup=False, classes="unit")

    def show_trouble(self, reason: str) -> None:
        """Tells what is wrong, beside the field; empty takes it back."""
        self._trouble.update(f"! {reason}" if reason else "")
        self.set_class(bool(reason), "-wrong")

    @property
    def help(self) -> str:
        """What the focused control is about, in a sentence."""
        line = self.app.focused.help_of_line() if isinstance(self.app.focused, Choice) else ""
        return f"{tr(self.shape.note.help)}  {line}" if line else tr(self.shape.note.help)

    def _tell(self, value: Any) -> None:
        self._value = value
        self.post_message(Changed(self.place.table, self.place.path, value))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        value = from_text(self.shape, event.value)
        if value != self._value and not (value == "" and self._value is None):
            self._tell(value)

    @on(Lines.Changed)
    def _typed_lines(self, event: Lines.Changed) -> None:
        event.stop()
        value = from_lines(self.shape, event.text_area.text)
        if value != self._value:
            self._tell(value)

    @on(Tick.Turned)
    def _turned(self, event: Tick.Turned) -> None:
        event.stop()
        self._tell(event.tick.value)

    @on(Choice.Chosen)
    def _chosen(self, event: Choice.Chosen) -> None:
        event.stop()
        self._tell(list(event.words) if self.shape.sort == "some-of" else event.words[0])

    @on(Choice.Moved)
    def _moved(self, event: Choice.Moved) -> None:
        event.stop()
        self.post_message(self.Focused(self))

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.post_message(self.Focused(self))


def _hint(shape: Shape) -> str:
    """What stands in an empty input: an example, when there is one."""
    example = shape.note.example
    return tr("e.g. {example}", example=example) if isinstance(example, str | int) else ""
