"""A form made from the settings of a table: a field for each of theirs, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Place
from bai_wizard.tui.widgets.choice import ChoiceField
from bai_wizard.tui.widgets.entry import LinesField, TextField
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.rows import RowsField
from bai_wizard.tui.widgets.secret import SecretField
from bai_wizard.wizard.draft import Draft, Path, Trouble
from bai_wizard.wizard.shapes import Shape, Sort, shapes
from bai_wizard.wizard.values import plain_default

FIELDS: dict[Sort, type[Field]] = {
    "yes-no": ChoiceField,
    "one-of": ChoiceField,
    "some-of": ChoiceField,
    "number": TextField,
    "text": TextField,
    "hash": TextField,
    "lines": LinesField,
    "pairs": LinesField,
    "rows": RowsField,
    "named-parts": RowsField,
    "secret": SecretField,
}


class Form(Vertical):
    """The fields of one table, filled from the draft."""

    DEFAULT_CSS = """
    Form { height: auto; }
    Form .part { margin-top: 1; text-style: bold; }
    """

    class Ready(Message):
        """All fields are there."""

    def __init__(self, table: str, settings: type[BaseModel], draft: Draft) -> None:
        super().__init__(id=f"form-{table}")
        self.table = table
        self.settings = settings
        self.draft = draft

    def compose(self) -> ComposeResult:
        yield from fields(self.settings, Place(self.table, ()), self.draft)

    def on_mount(self) -> None:
        self.post_message(self.Ready())

    def show_troubles(self, troubles: Iterable[Trouble]) -> None:
        """Puts every reason beside the innermost field that it is about."""
        found = {field.place.path: field for field in self.query(Field)}
        reasons: dict[Path, list[str]] = {}
        for trouble in troubles:
            path = trouble.path
            while path and path not in found:
                path = path[:-1]
            inside = " ".join(str(part + 1) if isinstance(part, int) else part for part in trouble.path[len(path) :])
            reasons.setdefault(path, []).append(f"{inside}: {trouble.reason}" if inside else trouble.reason)
        for path, field in found.items():
            field.show_trouble("; ".join(reasons.get(path, ())))


class OptionalPart(ChoiceField):
    """The tick of a part that may be absent; its fields stand below while it is there."""

    def taken(self, at: int) -> None:
        self.tell({} if self.value is None else None)
        self.refresh()
        self.call_later(self._mount_or_remove)

    async def _mount_or_remove(self) -> None:
        form = self.query_ancestor(Form)
        inside = [field for field in form.query(Field) if field.place.path[: len(self.place.path)] == self.place.path]
        await form.remove_children([field for field in inside if field is not self])
        if self.value is not None:
            draft = form.draft
            await form.mount_all(fields(self.shape.model, self.place, draft), after=self)

    def _chosen(self) -> tuple[str, ...]:
        return self.options if self.value is not None else ()


def fields(settings: type[BaseModel], place: Place, draft: Draft) -> Iterator[Widget]:
    """The fields of a table or of a part of it."""
    for shape in shapes(settings):
        below = place.below(shape.note.name)
        value = _value(shape, below, draft)
        if shape.sort == "part" and shape.optional:
            yield OptionalPart(shape.as_sort("yes-no"), below, value)
            if value is not None:
                yield from fields(shape.model, below, draft)
        elif shape.sort == "part":
            yield Static(tr(shape.note.label), markup=False, classes="part")
            yield from fields(shape.model, below, draft)
        else:
            yield FIELDS[shape.sort](shape, below, value)


def _value(shape: Shape, place: Place, draft: Draft) -> Any:
    if draft.has(place.table, place.path):
        return draft.value(place.table, place.path)
    return plain_default(shape)
