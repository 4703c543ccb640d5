"""A table whose rows are edited one at a time: a line each, and one more to add another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Static

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Changed, Place
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.shapes import Shape
from bai_wizard.wizard.values import in_one_line

if TYPE_CHECKING:
    from bai_wizard.tui.screens.row import RowAnswer


class RowList(Walk):
    """The rows in a line each, then what can be added."""

    def __init__(self, rows: Sequence[str], more: Sequence[str]) -> None:
        super().__init__()
        self.rows = list(rows)
        self.more = list(more)

    def lines(self) -> list[str]:
        return [*self.rows, *(f"+ {text}" for text in self.more)]


class RowsField(Widget):
    """A list of tables, or a table of named ones. The value is replaced as a whole at every change."""

    DEFAULT_CSS = """
    RowsField { height: auto; layout: vertical; margin-top: 1; }
    RowsField > RowList { margin-left: 2; }
    RowsField .trouble { display: none; padding-left: 2; color: $text-error; }
    RowsField.-wrong .trouble { display: block; }
    """

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(id="field-" + "-".join(str(part) for part in place.path), classes="field")
        self.shape = shape
        self.place = place
        self._named = shape.sort == "named-parts"
        self._keys: list[str] = list(value or {}) if self._named else []
        self._rows: list[dict[str, Any]] = list((value or {}).values()) if self._named else list(value or [])
        self._list = RowList(self._texts(), self._more())
        self._trouble = Static(markup=False, classes="trouble")

    def compose(self) -> ComposeResult:
        yield Static(tr(self.shape.note.label), markup=False, classes="label")
        yield self._list
        yield self._trouble

    @property
    def help(self) -> str:
        """What the table is about, in a sentence."""
        return tr(self.shape.note.help)

    @property
    def value(self) -> Any:
        """The rows as in the answers file."""
        return dict(zip(self._keys, self._rows, strict=True)) if self._named else list(self._rows)

    def show_trouble(self, reason: str) -> None:
        """Tells what is wrong with the rows; empty takes it back."""
        self._trouble.update(f"! {reason}" if reason else "")
        self.set_class(bool(reason), "-wrong")

    def _texts(self) -> list[str]:
        if self._named:
            pairs = zip(self._keys, self._rows, strict=True)
            return [f"{key}  " + "  ".join(f"{name} {value}" for name, value in row.items()) for key, row in pairs]
        return [in_one_line(row) for row in self._rows]

    def _more(self) -> list[str]:
        return [tr("add")] if "ip" not in self.shape.model_fields else [tr("add"), tr("paste lines of /etc/hosts")]

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.post_message(Field.Focused(self))  # type: ignore[arg-type]

    def on_walk_taken(self, event: Walk.Taken) -> None:
        event.stop()
        if event.at < len(self._rows):
            self._edit(event.at)
        elif event.at == len(self._rows):
            self._edit(None)
        else:
            self._paste()

    @work
    async def _edit(self, at: int | None) -> None:
        from bai_wizard.tui.screens.row import RowScreen

        row = {} if at is None else self._rows[at]
        key = self._keys[at] if self._named and at is not None else ""
        answer: RowAnswer | None = await self.app.push_screen_wait(RowScreen(self.shape, row, key, is_new=at is None))
        if answer is None:
            return
        if answer.removed and at is not None:
            del self._rows[at]
            if self._named:
                del self._keys[at]
        elif at is None:
            self._rows.append(answer.row)
            self._keys += [answer.key] if self._named else []
        else:
            self._rows[at] = answer.row
            if self._named:
                self._keys[at] = answer.key
        self._tell()

    @work
    async def _paste(self) -> None:
        from bai_wizard.tui.screens.paste import PasteScreen

        rows = await self.app.push_screen_wait(PasteScreen())
        if rows:
            self._rows += rows
            self._tell()

    def _tell(self) -> None:
        self._list.rows = self._texts()
        self._list.changed()
        self.post_message(Changed(self.place.table, self.place.path, self.value))
