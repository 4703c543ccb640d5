"""A table whose rows are edited one at a time: a line each, and one more to add another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import work

from bai_wizard.texts import tr
from bai_wizard.tui.widgets.base import Place
from bai_wizard.tui.widgets.field import Field
from bai_wizard.wizard.shapes import Shape
from bai_wizard.wizard.values import in_one_line

if TYPE_CHECKING:
    from bai_wizard.tui.screens.row import RowAnswer


class RowsField(Field):
    """A list of tables, or a table of named ones. The value is replaced as a whole at every change."""

    def __init__(self, shape: Shape, place: Place, value: Any) -> None:
        super().__init__(shape, place, value)
        self._named = shape.sort == "named-parts"
        self._keys: list[str] = list(value or {}) if self._named else []
        self._rows: list[dict[str, Any]] = list((value or {}).values()) if self._named else list(value or [])

    def lines(self) -> list[str]:
        more = [tr("+ add")]
        if "ip" in self.shape.model_fields:
            more.append(tr("+ paste lines of /etc/hosts"))
        return [*self._texts(), *more]

    def _texts(self) -> list[str]:
        if self._named:
            pairs = zip(self._keys, self._rows, strict=True)
            return [f"{key}  " + "  ".join(f"{name} {value}" for name, value in row.items()) for key, row in pairs]
        return [in_one_line(row) for row in self._rows]

    def taken(self, at: int) -> None:
        if at < len(self._rows):
            self._edit(at)
        elif at == len(self._rows):
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
        place = len(self._rows) if at is None else at
        self._rows[place : place + 1] = [] if answer.removed else [answer.row]
        if self._named:
            self._keys[place : place + 1] = [] if answer.removed else [answer.key]
        self._told()

    @work
    async def _paste(self) -> None:
        from bai_wizard.tui.screens.paste import PasteScreen, rows_of

        told = tr("An address and its names in each line; a remark may stand behind #.")
        screen = PasteScreen(tr("Paste lines of /etc/hosts"), told, tr("Take them"))
        # What is wrong with them is told beside the table.
        rows = rows_of(await self.app.push_screen_wait(screen))
        if rows:
            self._rows += rows
            self._told()

    def _told(self) -> None:
        self.tell(dict(zip(self._keys, self._rows, strict=True)) if self._named else list(self._rows))
        self.changed()
