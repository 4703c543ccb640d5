"""One row of a table: its fields in a form of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Static

from bai_wizard.texts import tr
from bai_wizard.tui.screens.base import Dialogue
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import Changed
from bai_wizard.tui.widgets.choice import Choice
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.form import Form
from bai_wizard.tui.widgets.hint import Hint
from bai_wizard.wizard.draft import Draft, Trouble, troubles_of
from bai_wizard.wizard.shapes import Shape


class RowAnswer(NamedTuple):
    """A row as it shall be; `key` is its name where rows have names."""

    row: dict[str, Any]
    key: str = ""
    removed: bool = False


class RowScreen(Dialogue[RowAnswer | None]):
    """Esc leaves the row as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "no", "Back", id="row.back"),
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
    ]
    HELP = "row"
    TABLE = "row"

    def __init__(self, shape: Shape, row: Mapping[str, Any], key: str, *, is_new: bool) -> None:
        super().__init__()
        self.shape = shape
        self._models: dict[str, type[BaseModel]] = shape.models or {}
        self._type = str(row.get("type", next(iter(self._models))))
        self._draft = Draft("", {})
        self._draft.scratch(self.TABLE, {name: value for name, value in row.items() if name != "type"})
        self._key = key
        self._is_new = is_new
        # The field whose help is shown; the help screen says all of it.
        self.helped: Field | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue tall"):
            yield Static(tr(self.shape.note.label), markup=False, classes="title")
            if len(self._models) > 1:
                meanings = {name: tr(model.__doc__ or "").split("\n")[0] for name, model in self._models.items()}
                yield Choice(tuple(self._models), meanings, self._type, id="type")
            if self.shape.sort == "named-parts":
                with Horizontal(classes="row"):
                    yield Static(tr("Name"), markup=False, classes="label")
                    yield Input(self._key, id="key", compact=True, select_on_focus=False)
            with VerticalScroll(id="row-body", can_focus=False):
                yield self._form()
            yield Hint()
            labels = {"take": tr("Take it"), "remove": "" if self._is_new else tr("Remove"), "no": tr("Back")}
            yield Actions(labels)

    def _form(self) -> Form:
        return Form(self.TABLE, self._models[self._type], self._draft)

    @on(Choice.Chosen, "#type")
    async def _typed(self, event: Choice.Chosen) -> None:
        event.stop()
        self._type = event.word
        body = self.query_one("#row-body")
        await body.remove_children()
        await body.mount(self._form())

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        event.stop()
        self._draft.put(event.table, event.path, event.value)
        self._show(self._troubles())

    @on(Field.Focused)
    def _help(self, event: Field.Focused) -> None:
        self.helped = event.field
        self.query_one(Hint).show(event.field.help)

    def row(self) -> dict[str, Any]:
        """The row as it stands in the form: what is not a field of this type is left out."""
        known = self._models[self._type].model_fields
        values = {name: value for name, value in self._draft.value(self.TABLE, ()).items() if name in known}
        return {"type": self._type, **values} if len(self._models) > 1 else values

    def _troubles(self) -> tuple[Trouble, ...]:
        return troubles_of(self._models[self._type], self.row())

    def _show(self, troubles: tuple[Trouble, ...]) -> None:
        self.query_one(Form).show_troubles(troubles)

    @on(Actions.Pressed)
    async def _pressed(self, event: Actions.Pressed) -> None:
        await self.run_action(event.key)

    def action_take(self) -> None:
        """Takes the row, if nothing is wrong with it."""
        troubles = self._troubles()
        key = self.query_one("#key", Input).value.strip() if self.shape.sort == "named-parts" else ""
        if troubles:
            self._show(troubles)
            self.query_one(Hint).show("! " + "; ".join(str(item.reason) for item in troubles))
        elif self.shape.sort == "named-parts" and not key:
            self.query_one(Hint).show("! " + tr("a name must be given"))
        else:
            self.dismiss(RowAnswer(self.row(), key))

    def action_remove(self) -> None:
        """Takes the row out of the table."""
        self.dismiss(RowAnswer({}, removed=True))

    def action_no(self) -> None:
        """Leaves the row as it was."""
        self.dismiss(None)
