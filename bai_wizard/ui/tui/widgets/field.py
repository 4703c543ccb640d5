"""The base of every field of a form, and the help of the field under the cursor."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.content import Content
from textual.events import Focus
from textual.geometry import Offset, Size
from textual.message import Message
from textual.widget import Widget

from bai_wizard.answers.model import dotted
from bai_wizard.locale import tr
from bai_wizard.ui.form_fields import FormField, plain_default, to_text
from bai_wizard.ui.page_rows import RowText
from bai_wizard.ui.tui.base import Changed, FieldPath, shown
from bai_wizard.ui.tui.widgets.columns import BELOW, GAP, MOODS, Columns, cell_at, columns_of
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut, in_cell, wrapped

# The table of a row that is edited in a dialog.
ROW_TABLE = "row"


class Field(ListBox):
    """A field in one widget: a row of a page's table, or of a form.

    `value` is as in the answers file, or the raw text if it is not valid. `is_given`: the answers have a value, which
    differs from the default. Unfolded fields show lines below their row.
    """

    DEFAULT_CSS = """
    Field { width: 1fr; height: auto; }
    """
    is_unfolded = False
    # Whether an editor needs the column of the changes.
    covers_change = False
    # What the page knows about the field; empty in a form.
    text = RowText()

    class Focused(Message):
        """The cursor moved within this field: its help should be shown."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(id="field-" + "-".join(str(part) for part in (path.table, *path.path)), classes="field")
        self.form_field = form_field
        self.place = path
        self.value = value
        self.problem = ""

    @property
    def in_table(self) -> bool:
        """Whether this is a row of a page's table, with columns for its current value and its change."""
        return self.place.table != ROW_TABLE

    @property
    def key(self) -> str:
        """The path of the field in the answers: `docker.log.driver`."""
        return dotted((self.place.table, *self.place.path))

    @property
    def is_changed(self) -> bool:
        """Whether the value differs from the default."""
        default = plain_default(self.form_field)
        return self.value != default and not (self.value in (None, "", [], {}) and default in (None, "", [], {}))

    @property
    def is_missing(self) -> bool:
        """Whether the field is empty although the page cannot be applied without it."""
        return self.text.is_needed and not self.value

    @property
    def columns(self) -> Columns:
        return columns_of(self.size.width or self.app.size.width, self.in_table)

    @property
    def lines_begin(self) -> Offset:
        if self.is_unfolded:
            return Offset(BELOW, self._head_height(self.size.width))
        return Offset(self.columns.at_want, 0)

    @property
    def label(self) -> str:
        return tr(self.form_field.info.label)

    @property
    def help(self) -> str:
        """The help of the field and of the line under the cursor."""
        line = self.help_of_line()
        return f"{self.label}: {tr(self.form_field.info.help)}" + (f"  {line}" if line else "")

    def help_of_line(self) -> str:
        """The help of the line under the cursor; empty if the field's help is sufficient."""
        return ""

    def want(self, width: int) -> list[Content]:
        """The desired value in lines of at most this many cells."""
        return [Content(line) for line in in_cell(self.value_text(), width)]

    def value_text(self) -> str:
        """The desired value in one line."""
        return to_text(self.value)

    @property
    def empty_text(self) -> str:
        """What an empty value means on this node."""
        if self.form_field.info.required or self.text.is_needed:
            return tr("required")
        return self.text.want or tr("none")

    def _cells(self, width: int) -> tuple[list[str], list[str], list[Content], list[str]]:
        """The lines of the four cells of the row."""
        columns = columns_of(width, self.in_table)
        mark = "" if not self.in_table else "! " if self.problem or self.text.mood == "bad" else ""
        mark = mark or ("• " if self.in_table and self.is_changed else "  " if self.in_table else "")
        label = in_cell(self.label, max(4, columns.label - len(mark)))
        labels = [mark + label[0], *(" " * len(mark) + line for line in label[1:])]
        now = in_cell(self.text.now, columns.now) if columns.now and self.text.now else []
        covered = not columns.change or self.covers_change
        change = in_cell(self.text.change, columns.change) if self.text.change and not covered else []
        return labels, now, self.want(columns.want), change

    def _head_height(self, width: int) -> int:
        labels, now, want, change = self._cells(width)
        return max(1, len(labels), len(now), len(want), len(change))

    def render(self) -> Content:
        width = self.size.width
        drawn = self._head(width)
        if self.is_unfolded:
            drawn += [Content.assemble(" " * BELOW, line) for line in self.drawn_lines()]
        drawn += [Content.styled(" " * BELOW + line, style) for line, style in self._notes(width)]
        return shown(Content("\n").join(drawn))

    def _head(self, width: int) -> list[Content]:
        columns = columns_of(width, self.in_table)
        labels, now, want, change = self._cells(width)
        gap = " " * GAP
        drawn = []
        for index in range(self._head_height(width)):
            label = Content(cell_at(labels, index, columns.label))
            if self.problem or self.text.mood == "bad":
                label = label.stylize("$text-error")
            value = want[index] if index < len(want) else Content("")
            if self.has_focus and not self.is_unfolded and index < len(want):
                value = Content(value.plain or " ").stylize("reverse")
            parts: list[Content | str] = [label, gap]
            if columns.now:
                parts += [Content.styled(cell_at(now, index, columns.now), "$text-muted"), gap]
            parts.append(value)
            if columns.change:
                parts += [" " * max(0, columns.want - value.cell_length), gap]
                parts.append(Content.styled(cell_at(change, index, columns.change), MOODS[self.text.mood]))
            drawn.append(Content.assemble(*parts))
        return drawn

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        unfolded = len(self.lines()) if self.is_unfolded else 0
        return self._head_height(width) + unfolded + len(self._notes(width))

    def _notes(self, width: int) -> list[tuple[str, str]]:
        """What is shown below the row: why the value is wrong or cannot be applied; in a narrow table, the change."""
        room = max(10, width - BELOW)
        result = []
        if self.problem:
            result += [(line, "$text-error") for line in wrapped(f"! {self.problem}", room)]
        elif self.text.reason:
            result += [(line, "$text-error") for line in wrapped(f"! {self.text.reason}", room)]
        elif self.in_table and self.text.change and not columns_of(width, True).change:
            result += [(line, MOODS[self.text.mood]) for line in wrapped(f"→ {self.text.change}", room)]
        return result

    def show_problem(self, reason: str) -> None:
        """Show a problem below the field; an empty text removes it."""
        if reason != self.problem:
            self.problem = reason
            self.redraw()

    def show_text(self, text: RowText) -> None:
        """Show what the page knows about the field."""
        if text != self.text:
            self.text = text
            self.redraw()

    def redraw(self) -> None:
        """Draw the field again, and lay the page out again only if its height changes."""
        width = self.size.width
        height = self.get_content_height(self.size, self.app.size, width)
        self.refresh(layout=height != self.size.height)

    def tell(self, value: Any) -> None:
        """Set a value and notify the form."""
        was_changed = self.is_changed
        self.value = value
        if self.is_changed != was_changed:
            self.refresh()  # the mark before the label
        self.post_message(Changed(self.place.table, self.place.path, value))

    def set_value(self, value: Any) -> None:
        """Set a value that the form already has."""
        self.value = value
        self.redraw()

    def _on_focus(self, event: Focus) -> None:
        self.post_message(self.Focused(self))

    def watch_cursor(self, index: int) -> None:
        super().watch_cursor(index)
        if self.has_focus:
            self.post_message(self.Focused(self))


class FieldHelp(Widget):
    """The help of the field under the cursor and its planned changes, at a constant height, so that nothing moves."""

    LINES = 3

    def __init__(self, text: str = "") -> None:
        super().__init__(id="hint")
        self._help = text
        self._changes = Content("")

    def show(self, text: str, changes: Content | str = "") -> None:
        """Show the help of a field, and on the last line its changes."""
        changes = shown(changes)
        if text != self._help or changes != self._changes:
            self._help, self._changes = text, changes
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.LINES

    def render(self) -> Content:
        width = self.size.width
        room = self.LINES - bool(self._changes.plain)
        lines = wrapped(self._help, width)
        if len(lines) > room:
            more = " " + tr("(F1: more)")
            last = cut(f"{lines[room - 1]} …", max(0, width - cell_len(more))).rstrip()
            lines = [*lines[: room - 1], last + more]
        parts = [Content(line) for line in lines]
        if self._changes.plain:
            parts += [Content("")] * (room - len(parts))
            parts.append(Content(cut(self._changes.plain, width)).stylize("$text-warning"))
        return shown(Content("\n").join(parts))
