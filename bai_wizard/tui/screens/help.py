"""Help for the field under the cursor and the screen that is open: what they are for, and the keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.helptexts import HELP, KEYS
from bai_wizard.tui.screens.base import Dialogue
from bai_wizard.tui.widgets.walk import cut
from bai_wizard.wizard.values import in_one_line, plain_default

if TYPE_CHECKING:
    from bai_wizard.tui.widgets.field import Field


class HelpScreen(Dialogue[None]):
    """Arrows scroll, Esc closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "dismiss", "Close", id="help.close")
    ]

    NEEDS = ("VerticalScroll",)

    def __init__(self, topic: str, field: Field | None = None) -> None:
        super().__init__()
        self.topic = topic
        self.field = field

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialogue tall"):
            yield Static(tr("Help"), markup=False, classes="title")
            if self.field is not None:
                yield Static(self.field.label, markup=False, classes="heading")
                yield Static("\n".join(told(self.field)), markup=False)
                yield Static(tr("This screen"), markup=False, classes="heading")
            yield Static(tr(HELP.get(self.topic, HELP["main"])), markup=False)
            yield Static(tr("Keys"), markup=False, classes="heading")
            yield Static("\n".join(f"{cut(tr(key), 14)} {tr(text)}" for key, text in KEYS), markup=False)

    def begin(self) -> None:
        self.query_one(VerticalScroll).focus()


def told(field: Field) -> Iterator[str]:
    """Everything there is to know about a field."""
    note, place = field.shape.note, field.place
    yield tr(note.help)
    yield from (f"  {word}: {tr(meaning)}" for word, meaning in note.choices.items())
    if note.example not in (None, ""):
        yield tr("For example: {example}", example=in_one_line(note.example))
    default = in_one_line(plain_default(field.shape) or "")
    if note.required:
        yield tr("It must be given.")
    elif default:
        yield tr("Default: {default}", default=default)
    if place.table != "row":
        key = ".".join(str(part) for part in (place.table, *place.path))
        yield tr("In the answers file: {key}", key=key)
