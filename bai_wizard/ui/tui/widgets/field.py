"""The base of every field of a form, its help, and choice fields: `(•) ( )` and `[X] [ ]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Blur, Focus
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import TextArea

from bai_wizard.answers.model import dotted
from bai_wizard.locale import tr
from bai_wizard.ui.form_fields import FormField, plain_default, to_text
from bai_wizard.ui.page_rows import Mood, RowText
from bai_wizard.ui.tui.base import Changed, FieldPath, shown, while_mounted
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut, in_cell, wrapped

# Cells of the label column of a form, and of a narrow one's.
LABEL = 24
NARROW_LABEL = 18
NARROW_FORM = 80
# The minimum width of a table with a column for the changes.
NARROW_TABLE = 72
# Cells between two columns, and before the lines below a row.
GAP = 2
BELOW = 4
# The table of a row that is edited in a dialog.
ROW_TABLE = "row"


class Columns(NamedTuple):
    """Cells of the columns of a page's table. Without `now` and `change`: a form of labels and values."""

    label: int
    now: int
    want: int
    change: int

    @property
    def at_want(self) -> int:
        """Where the desired values begin."""
        return self.label + GAP + (self.now + GAP if self.now else 0)


def columns_of(width: int, in_table: bool) -> Columns:
    """The columns that fit: in a narrow table, the change is shown below its row."""
    if not in_table:
        label = (NARROW_LABEL if width < NARROW_FORM else LABEL) - GAP
        return Columns(label, 0, max(1, width - label - GAP), 0)
    if width < NARROW_TABLE:
        label = max(8, width * 3 // 10)
        now = max(6, width * 3 // 10)
        return Columns(label, now, max(6, width - label - now - 2 * GAP), 0)
    room = width - 3 * GAP
    label, now = min(30, room * 27 // 100), min(50, room * 22 // 100)
    want = min(50, room * 27 // 100)
    return Columns(label, now, want, room - label - now - want)


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
            label = Content(_at(labels, index, columns.label))
            if self.problem or self.text.mood == "bad":
                label = label.stylize("$text-error")
            value = want[index] if index < len(want) else Content("")
            if self.has_focus and not self.is_unfolded and index < len(want):
                value = Content(value.plain or " ").stylize("reverse")
            parts: list[Content | str] = [label, gap]
            if columns.now:
                parts += [Content.styled(_at(now, index, columns.now), "$text-muted"), gap]
            parts.append(value)
            if columns.change:
                parts += [" " * max(0, columns.want - value.cell_length), gap]
                parts.append(Content.styled(_at(change, index, columns.change), MOODS[self.text.mood]))
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


MOODS: dict[Mood, str] = {"": "", "good": "$text-success", "todo": "$text-warning", "bad": "$text-error"}


def _at(lines: Sequence[str], index: int, width: int) -> str:
    """One line of a cell in exactly this many cells."""
    return set_cell_size(lines[index] if index < len(lines) else "", width)


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


def option_lines(
    options: Sequence[str], meanings: Mapping[str, str], chosen: Sequence[str], several: bool
) -> list[str]:
    """One line per option: its glyph, its word, its meaning."""
    width = max((cell_len(word) for word in options), default=0)
    left, on, right = ("[", "X", "]") if several else ("(", "•", ")")
    drawn = []
    for word in options:
        gap = " " * (width - cell_len(word) + 2)
        glyph = f"{left}{on if word in chosen else ' '}{right}"
        drawn.append(f"{glyph} {word}{gap}{meanings.get(word, '')}".rstrip())
    return drawn


class ChoiceField(Field):
    """Yes or no, one of several, or some of several.

    Enter opens the list of choices below the row and selects one; Space, Left and Right change the value directly.
    Esc and leaving the field close the list.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "turn", "Change", show=False, id="choice.turn"),
        Binding("enter", "take", "Choose", show=False, id="choice.take"),
        Binding("right", "cycle(1)", "Next", show=False, id="choice.next"),
        Binding("left", "cycle(-1)", "Previous", show=False, id="choice.previous"),
        Binding("escape", "fold", "Back", show=False, id="choice.fold"),
    ]

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(form_field, path, value)
        self.options = form_field.options
        self.is_switch = form_field.widget == "yes-no"

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each choice means."""
        return {word: tr(text) for word, text in self.form_field.info.choices.items()}

    def _chosen(self) -> tuple[str, ...]:
        if self.form_field.widget == "some-of":
            return tuple(str(word) for word in self.value or ())
        return (str(self.value),)

    @property
    def is_on(self) -> bool:
        """Whether a switch is on."""
        return bool(self.value)

    def value_text(self) -> str:
        if self.is_switch:
            return tr("yes") if self.is_on else tr("no")
        return ", ".join(self._chosen())

    def want(self, width: int) -> list[Content]:
        if self.is_switch:
            return [Content(f"[{'X' if self.is_on else ' '}] {self.value_text()}")]
        lines = wrapped(self.value_text() or self.empty_text, max(4, width - 2))
        return [*(Content(line) for line in lines[:-1]), Content(f"{lines[-1]} ▾")]

    def _options(self) -> list[tuple[int, str]]:
        """The lines of the open list, each with the index of its option."""
        meanings = self.meanings
        room = max(10, (self.size.width or 76) - BELOW)
        width = max((cell_len(word) for word in self.options), default=0)
        several = self.form_field.widget == "some-of"
        result = []
        for index, word in enumerate(self.options):
            head = option_lines((word,), {}, self._chosen(), several)[0]
            head += " " * (width - cell_len(word) + 2)
            meaning = wrapped(meanings.get(word, ""), max(10, room - cell_len(head)))
            result += [
                (index, (head if first else " " * cell_len(head)) + line)
                for first, line in ((at == 0, line) for at, line in enumerate(meaning))
            ]
        return result

    def lines(self) -> list[str]:
        return [line.rstrip() for _, line in self._options()] if self.is_unfolded else [self.value_text()]

    def drawn_lines(self) -> list[Content]:
        """The list of choices with the one under the cursor marked, however many lines it takes."""
        options = self._options()
        at = options[min(self.cursor, len(options) - 1)][0]
        return [
            Content(shown(line, lines=False).plain).stylize("reverse" if index == at and self.has_focus else "")
            for index, line in options
        ]

    def help_of_line(self) -> str:
        word, meanings = self.options[self._option()] if self.is_unfolded else str(self.value), self.meanings
        return f"{word}: {meanings[word]}" if word in meanings else ""

    def _option(self) -> int:
        options = self._options()
        return options[min(self.cursor, len(options) - 1)][0]

    @property
    def cursor_in_widget(self) -> Offset:
        begin = self.lines_begin
        return Offset(begin.x + 1, begin.y + self.cursor) if self.is_unfolded else begin

    def action_walk(self, by: int) -> None:
        if not self.is_unfolded:
            super().action_walk(by)
            return
        options = self._options()
        at, index = self._option(), self.cursor
        while 0 <= index < len(options) and options[index][0] == at:
            index += by
        if 0 <= index < len(options):
            first = options[index][0]
            self.cursor = next(line for line, (option, _) in enumerate(options) if option == first)

    def action_fold(self) -> None:
        """Fold the list; without one, Esc is left to the screen."""
        if not self.is_unfolded:
            raise SkipAction
        self.unfold(False)

    def unfold(self, on: bool) -> None:
        """Open or fold the list of choices."""
        self.is_unfolded = on
        chosen = next((index for index, word in enumerate(self.options) if word in self._chosen()), 0)
        lines = [option for option, _ in self._options()] if on else []
        self.cursor = lines.index(chosen) if lines else 0
        self.refresh(layout=True)
        self.call_after_refresh(self._reveal)

    @while_mounted
    def _reveal(self) -> None:
        self.show_cursor()

    def _on_blur(self, event: Blur) -> None:
        if self.is_unfolded:
            self.unfold(False)

    def action_turn(self) -> None:
        """Change the value at once."""
        if self.is_unfolded or self.form_field.widget == "some-of":
            self.action_take()
        else:
            self.action_cycle(1)

    def action_cycle(self, by: int) -> None:
        """Select the next or the previous choice."""
        if self.is_unfolded or self.form_field.widget == "some-of":
            return
        if self.is_switch:
            self.choose(not self.value)
            return
        at = self.options.index(str(self.value)) if str(self.value) in self.options else -1
        self.choose(self.options[(at + by) % len(self.options)])

    def on_select(self, index: int) -> None:
        if self.is_switch:
            self.choose(not self.value)
        elif not self.is_unfolded:
            self.unfold(True)
        elif self.form_field.widget == "some-of":
            turned = {self.options[self._option()]} ^ set(self._chosen())
            self.choose([word for word in self.options if word in turned])
        else:
            self.choose(self.options[self._option()])
            self.unfold(False)

    def choose(self, value: Any) -> None:
        """Set the value."""
        self.tell(value)
        self.post_message(self.Focused(self))
        self.redraw()


class Choice(ListBox):
    """A list of words with their meanings, without a label; one of them is `chosen`."""

    def __init__(
        self, options: Sequence[str], meanings: Mapping[str, str], chosen: str, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.options = tuple(options)
        self.meanings = dict(meanings)
        self.chosen = chosen
        self.set_reactive(Choice.cursor, self.options.index(chosen) if chosen in self.options else 0)

    def lines(self) -> list[str]:
        return option_lines(self.options, self.meanings, (self.chosen,), False)

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, self.cursor)

    def on_select(self, index: int) -> None:
        self.chosen = self.options[index]
        self.refresh()
        super().on_select(index)


class Tick(ListBox):
    """`[X] label`: yes or no, without a label column."""

    def __init__(self, label: str, value: bool, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.label = label
        self.value = value

    def lines(self) -> list[str]:
        return [f"[{'X' if self.value else ' '}] {self.label}"]

    @property
    def cursor_in_widget(self) -> Offset:
        return Offset(1, 0)

    def on_select(self, index: int) -> None:
        self.value = not self.value
        self.refresh()
        super().on_select(index)


class Lines(TextArea):
    """As high as its lines, within bounds. Up and Down leave it at the ends, so that arrow keys reach everything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "up_or_leave", "Up", show=False, id="lines.up"),
        Binding("down", "down_or_leave", "Down", show=False, id="lines.down"),
    ]
    DEFAULT_CSS = """
    Lines { height: auto; min-height: 1; max-height: 8; width: 1fr; border: none; padding: 0; }
    Lines:focus { border: none; }
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, soft_wrap=False, tab_behavior="focus", compact=True, highlight_cursor_line=False)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Blank until the styles are loaded: a screen below a dialog may be drawn before them."""
        if "text-area--gutter" not in self._component_styles:
            return [Strip.blank(crop.width)] * crop.height
        return super().render_lines(crop)

    def action_up_or_leave(self) -> None:
        """Move one line up, or to the previous field."""
        if self.cursor_location[0] == 0:
            self.screen.focus_previous()
        else:
            self.action_cursor_up()

    def action_down_or_leave(self) -> None:
        """Move one line down, or to the next field."""
        if self.cursor_location[0] >= self.document.line_count - 1:
            self.screen.focus_next()
        else:
            self.action_cursor_down()
