"""Where a secret comes from: nowhere, typed here, a variable, or a file. It is never shown and never saved."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Input, Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Changed, Place
from bai_wizard.tui.widgets.choice import Choice
from bai_wizard.tui.widgets.field import Field
from bai_wizard.wizard.shapes import Shape

NONE, PROMPT, ENV, FILE = "none", "prompt", "env", "file"


class SecretField(Widget):
    """The way to a secret. `prompt` opens a dialogue that asks for it twice, hidden."""

    DEFAULT_CSS = """
    SecretField { height: auto; layout: vertical; }
    SecretField > Horizontal { height: auto; }
    SecretField .label { width: 20; padding-right: 1; }
    SecretField #from { margin-left: 20; display: none; }
    SecretField.-named #from { display: block; }
    SecretField .trouble { display: none; padding-left: 20; color: $text-error; }
    SecretField.-wrong .trouble { display: block; }
    """

    class Asked(Changed):
        """The secret itself is to be asked for now."""

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(id="field-" + "-".join(str(part) for part in place.path), classes="field")
        self.shape = shape
        self.place = place
        self._way = next(iter(value), NONE) if isinstance(value, dict) else NONE
        self._named = str(value[self._way]) if self._way in (ENV, FILE) else ""
        self._trouble = Static(markup=False, classes="trouble")

    def compose(self) -> ComposeResult:
        meanings = {
            NONE: tr("no password"),
            PROMPT: tr("ask for it here, hidden"),
            ENV: tr("in an environment variable of the wizard"),
            FILE: tr("on the first line of a file"),
        }
        with Horizontal():
            yield Static(tr(self.shape.note.label), markup=False, classes="label")
            yield Choice(tuple(meanings), meanings, (self._way,))
        yield Input(self._named, id="from", compact=True, select_on_focus=False)
        yield self._trouble

    def on_mount(self) -> None:
        self.set_class(self._way in (ENV, FILE), "-named")

    @property
    def help(self) -> str:
        """What the secret is for, in a sentence."""
        return tr(self.shape.note.help)

    def show_trouble(self, reason: str) -> None:
        """Tells what is wrong, beside the field; empty takes it back."""
        self._trouble.update(f"! {reason}" if reason else "")
        self.set_class(bool(reason), "-wrong")

    @on(Choice.Chosen)
    def _chosen(self, event: Choice.Chosen) -> None:
        event.stop()
        self._way = event.words[0]
        self.set_class(self._way in (ENV, FILE), "-named")
        if self._way == PROMPT:
            self.post_message(self.Asked(self.place.table, self.place.path, {PROMPT: True}))
        elif self._way == NONE:
            self._tell(None)
        elif self._named:
            self._tell({self._way: self._named})
        else:
            self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._named:
            self._named = event.value
            self._tell({self._way: self._named})

    @on(Choice.Moved)
    def _moved(self, event: Choice.Moved) -> None:
        event.stop()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.post_message(Field.Focused(self))  # type: ignore[arg-type]

    def _tell(self, value: Any) -> None:
        self.post_message(Changed(self.place.table, self.place.path, value))
