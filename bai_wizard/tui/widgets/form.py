"""A form made from the settings of a table: a field for each of theirs, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Changed, Place
from bai_wizard.tui.widgets.choice import Tick
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.rows import RowsField
from bai_wizard.tui.widgets.secret import SecretField
from bai_wizard.wizard.draft import Draft, Trouble
from bai_wizard.wizard.shapes import Shape, shapes
from bai_wizard.wizard.values import plain_default

AnyField = Field | RowsField | SecretField


class Form(Vertical):
    """The fields of one table, filled from the draft."""

    DEFAULT_CSS = """
    Form { height: auto; }
    Form .part { margin-top: 1; text-style: bold; }
    """

    def __init__(self, table: str, settings: type[BaseModel], draft: Draft) -> None:
        super().__init__(id=f"form-{table}")
        self.table = table
        self.settings = settings
        self.draft = draft

    def compose(self) -> ComposeResult:
        yield from fields(self.settings, Place(self.table, ()), self.draft)

    def show_troubles(self, troubles: Iterable[Trouble]) -> None:
        """Puts every reason beside the innermost field that it is about."""
        reasons: dict[AnyField, str] = {}
        found = sorted(self.query(".field").results(), key=lambda field: len(_place(field).path), reverse=True)
        for trouble in troubles:
            for field in found:
                path = _place(field).path
                if trouble.path[: len(path)] == path:
                    inside = "".join(
                        f" {part + 1 if isinstance(part, int) else part}" for part in trouble.path[len(path) :]
                    )
                    reason = f"{inside.strip()}: {trouble.reason}" if inside else trouble.reason
                    assert isinstance(field, AnyField)
                    reasons[field] = f"{reasons[field]}; {reason}" if field in reasons else reason
                    break
        for field in found:
            assert isinstance(field, AnyField)
            field.show_trouble(reasons.get(field, ""))


class OptionalPart(Widget):
    """A part that may be absent: a tick, and its fields while it is there."""

    DEFAULT_CSS = """
    OptionalPart { height: auto; layout: vertical; margin-top: 1; }
    OptionalPart > Vertical { height: auto; }
    """

    def __init__(self, shape: Shape, place: Place, draft: Draft) -> None:
        super().__init__()
        self.shape = shape
        self.place = place
        self.draft = draft

    def compose(self) -> ComposeResult:
        is_there = self.draft.value(self.place.table, self.place.path) is not None
        yield Tick(tr(self.shape.note.label), is_there)
        with Vertical():
            if is_there:
                yield from fields(self.shape.model, self.place, self.draft)

    @property
    def help(self) -> str:
        """What the part is about."""
        return tr(self.shape.note.help)

    @on(Tick.Turned)
    async def _turned(self, event: Tick.Turned) -> None:
        if event.tick.parent is not self:
            return
        event.stop()
        self.post_message(Changed(self.place.table, self.place.path, {} if event.tick.value else None))
        self.draft.put(self.place.table, self.place.path, {} if event.tick.value else None)
        body = self.query_one(Vertical)
        await body.remove_children()
        if event.tick.value:
            await body.mount_all(fields(self.shape.model, self.place, self.draft))


def fields(settings: type[BaseModel], place: Place, draft: Draft) -> Iterator[Widget]:
    """The fields of a table or of a part of it."""
    for shape in shapes(settings):
        below = place.below(shape.note.name)
        if shape.sort == "part" and shape.optional:
            yield OptionalPart(shape, below, draft)
        elif shape.sort == "part":
            yield Static(tr(shape.note.label), markup=False, classes="part")
            yield from fields(shape.model, below, draft)
        else:
            yield _field(shape, below, _value(shape, below, draft))


def _field(shape: Shape, place: Place, value: Any) -> AnyField:
    if shape.sort in ("rows", "named-parts"):
        return RowsField(shape, place, value)
    if shape.sort == "secret":
        return SecretField(shape, place, value)
    return Field(shape, place, value)


def _value(shape: Shape, place: Place, draft: Draft) -> Any:
    if draft.has(place.table, place.path):
        return draft.value(place.table, place.path)
    return plain_default(shape)


def _place(field: Widget) -> Place:
    assert isinstance(field, AnyField)
    return field.place
