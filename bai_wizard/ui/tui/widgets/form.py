"""A form generated from the settings of a table, and the dialog with the form of one of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from bai_wizard.answers.model import dotted
from bai_wizard.core.page import Row
from bai_wizard.locale import ntr, tr
from bai_wizard.pages.fields import SettingsPart
from bai_wizard.ui.draft import Draft, DraftProblem, Path, troubles_of
from bai_wizard.ui.form_fields import FormField, WidgetKind, form_fields, in_one_line, path_in_words, plain_default
from bai_wizard.ui.page_rows import RowText
from bai_wizard.ui.tui.base import Changed, FieldPath, Static, is_live, while_mounted, wizard
from bai_wizard.ui.tui.screens.dialogs import EditDialogue
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.choice import Choice, ChoiceField
from bai_wizard.ui.tui.widgets.entry import LinesField, SecretField, TextField
from bai_wizard.ui.tui.widgets.field import ROW_TABLE, Field, FieldHelp
from bai_wizard.ui.tui.widgets.list_box import ListBox, wrapped


class RowAnswer(NamedTuple):
    """An edited row; `key` is its name if rows have names."""

    row: dict[str, Any]
    key: str = ""
    removed: bool = False


class EditRowScreen(EditDialogue[RowAnswer | None]):
    """Esc leaves the row unchanged, after a question if something in it was edited."""

    HELP = "row"
    TABLE = ROW_TABLE

    def __init__(self, form_field: FormField, row: Mapping[str, Any], key: str, *, is_new: bool) -> None:
        super().__init__()
        self.form_field = form_field
        self._models: dict[str, type[SettingsPart]] = form_field.models or {}
        self._type = str(row.get("type", next(iter(self._models))))
        self._draft = Draft("", {})
        self._draft.scratch(self.TABLE, {name: value for name, value in row.items() if name != "type"})
        self._key = key
        self._is_new = is_new
        # The field whose help is shown; the help screen shows the full text.
        self.helped: Field | None = None
        self._before = (self.row(), key)

    @property
    def holds_input(self) -> bool:
        """Whether a field of the row differs from when it was opened."""
        return (self.row(), self._row_name()) != self._before

    def _row_name(self) -> str:
        keys = self.query("#key").results(Input) if self.is_attached else ()
        return next((each.value.strip() for each in keys), self._key)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialogue tall"):
            yield Static(tr(self.form_field.info.label), classes="title")
            if self.form_field.widget == "named-parts":
                with Horizontal(classes="row"):
                    yield Static(tr("Name"), classes="label")
                    yield Input(self._key, id="key", compact=True, select_on_focus=False)
            with VerticalScroll(id="row-body", can_focus=False):
                if len(self._models) > 1:
                    meanings = {
                        name: tr((model.__doc__ or "").split("\n")[0]) for name, model in self._models.items()
                    }
                    yield Choice(tuple(self._models), meanings, self._type, id="type")
                yield self._form()
            yield FieldHelp()
            labels = {"take": tr("Save"), "remove": "" if self._is_new else tr("Remove"), "no": tr("Cancel")}
            yield Actions(labels)

    def _form(self) -> Form:
        return Form({self.TABLE: self._models[self._type]}, self._draft)

    @on(ListBox.Selected, "#type")
    async def _typed(self, event: ListBox.Selected) -> None:
        event.stop()
        self._type = list(self._models)[event.cursor]
        body = self.query_one("#row-body")
        await self.query_one(Form).remove()
        if is_live(body):
            await body.mount(self._form())

    @on(Input.Submitted, "#key")
    def _named(self) -> None:
        self.focus_next()

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        event.stop()
        self._draft.put(event.table, event.path, event.value)
        self.query_one(Form).show_problems(self.TABLE, self._problems())

    @on(Field.Focused)
    def _help(self, event: Field.Focused) -> None:
        self.helped = event.field
        self.query_one(FieldHelp).show(event.field.help)

    def row(self) -> dict[str, Any]:
        """The current row in the form: values that are not fields of this type are left out."""
        known = self._models[self._type].infos
        values = {name: value for name, value in self._draft.value(self.TABLE, ()).items() if name in known}
        return {"type": self._type, **values} if len(self._models) > 1 else values

    def _problems(self) -> tuple[DraftProblem, ...]:
        return troubles_of(self._models[self._type], self.row())

    def action_take(self) -> None:
        problems = self._problems()
        key = self._row_name() if self.form_field.widget == "named-parts" else ""
        if problems:
            self.query_one(Form).show_problems(self.TABLE, problems)
            self.query_one(FieldHelp).show("! " + "; ".join(str(item.reason) for item in problems))
        elif self.form_field.widget == "named-parts" and not key:
            self.query_one(FieldHelp).show("! " + tr("a name is required"))
        else:
            self.dismiss(RowAnswer(self.row(), key))

    def action_remove(self) -> None:
        self.dismiss(RowAnswer({}, removed=True))


class RowsField(Field):
    """A list of tables, or a table of named ones. The value is replaced as a whole on every change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete,backspace", "remove", "Remove", show=False, id="rows.remove"),
    ]
    is_unfolded = True

    def __init__(self, form_field: FormField, path: FieldPath, value: Any) -> None:
        super().__init__(form_field, path, value)
        self.set_value(value)

    def set_value(self, value: Any) -> None:
        self._named = self.form_field.widget == "named-parts"
        self._keys: list[str] = list(value or {}) if self._named else []
        self._rows: list[dict[str, Any]] = list((value or {}).values()) if self._named else list(value or [])
        self.value = value
        if self.is_attached:
            self.redraw()

    def want(self, width: int) -> list[Content]:
        count = len(self._rows)
        text = ntr("{count} entry", "{count} entries", count) if count else self.empty_text
        return [Content(line) for line in wrapped(text, width)]

    def lines(self) -> list[str]:
        more = [tr("+ add")]
        if "ip" in self.form_field.model_fields:
            more.append(tr("+ paste lines from /etc/hosts"))
        return [*self._texts(), *more]

    def _texts(self) -> list[str]:
        if self._named:
            pairs = zip(self._keys, self._rows, strict=True)
            return [f"{key}  " + "  ".join(f"{name} {value}" for name, value in row.items()) for key, row in pairs]
        return [in_one_line(row) for row in self._rows]

    def action_remove(self) -> None:
        """Remove the entry under the cursor."""
        if self.cursor < len(self._rows):
            self._edited(self.cursor, RowAnswer({}, removed=True))

    def on_select(self, index: int) -> None:
        if index < len(self._rows):
            self._edit(index)
        elif index == len(self._rows):
            self._edit(None)
        else:
            self._paste()

    def _edit(self, index: int | None) -> None:
        row = {} if index is None else self._rows[index]
        key = self._keys[index] if self._named and index is not None else ""
        screen = EditRowScreen(self.form_field, row, key, is_new=index is None)
        wizard(self).show(screen, lambda answer: self._edited(index, answer))

    def _edited(self, position: int | None, answer: RowAnswer | None) -> None:
        if answer is None:
            return
        index = len(self._rows) if position is None else position
        self._rows[index : index + 1] = [] if answer.removed else [answer.row]
        if self._named:
            self._keys[index : index + 1] = [] if answer.removed else [answer.key]
        self._told()

    def _paste(self) -> None:
        from bai_wizard.ui.tui.screens.dialogs import PasteScreen, rows_of

        message = tr("One address and its names per line; text after # is a comment.")
        screen = PasteScreen(tr("Paste lines from /etc/hosts"), message, tr("Add"))
        # Problems with them are shown at the table.
        wizard(self).show(screen, lambda text: self._pasted(rows_of(text or "")))

    def _pasted(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._rows += rows
            self._told()

    def _told(self) -> None:
        self.tell(dict(zip(self._keys, self._rows, strict=True)) if self._named else list(self._rows))
        self.cursor = min(self.cursor, len(self.lines()) - 1)
        self.redraw()


FIELDS: dict[WidgetKind, type[Field]] = {
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


class Fold(ListBox):
    """One line that shows or hides the fields of a group."""

    DEFAULT_CSS = """
    Fold { color: $text-muted; }
    """

    def __init__(self, group: Group) -> None:
        super().__init__(id=f"fold-{group}")
        self.group = group
        self.is_open = False
        self.count = 0
        self.display = False

    def lines(self) -> list[str]:
        if self.group == "right":
            text = ntr("{count} already right", "{count} already right", self.count)
        else:
            text = ntr("{count} advanced setting", "{count} advanced settings", self.count)
        return [f"{'▾' if self.is_open else '▸'} {text}"]

    def on_select(self, index: int) -> None:
        self.is_open = not self.is_open
        self.refresh()
        super().on_select(index)


Group = Literal["main", "right", "advanced"]
GROUPS: tuple[Group, ...] = ("main", "right", "advanced")


class Form(Vertical):
    """The fields of some tables, filled from the draft. `rows`: which of them are shown first; the others are folded.

    Fields whose value is in effect already are folded as well, unless they were edited while the page was open.
    """

    DEFAULT_CSS = """
    Form { height: auto; }
    Form .part { margin-top: 1; text-style: bold; }
    """

    class Ready(Message):
        """All fields are mounted."""

    def __init__(self, tables: Mapping[str, type[SettingsPart]], draft: Draft, rows: Sequence[Row] = ()) -> None:
        super().__init__()
        self.tables = tables
        self.draft = draft
        self._order = {row.field: index for index, row in enumerate(rows)}
        self._advanced = {row.field for row in rows if row.is_advanced}
        self._touched: set[str] = set()
        self._groups: dict[str, Group] = {}

    def compose(self) -> ComposeResult:
        for table, settings in self.tables.items():
            yield from fields(settings, FieldPath(table, ()), self.draft)
        if self._order:
            yield Fold("right")
            yield Fold("advanced")

    def on_mount(self) -> None:
        self.show_rows({})
        self.post_message(self.Ready())

    @on(Changed)
    def _edited(self, event: Changed) -> None:
        # A field that was edited stays where it is.
        self._touched.add(dotted((event.table, *event.path)))

    def show_problems(self, table: str, problems: Iterable[DraftProblem]) -> None:
        """Show each problem at the innermost field that it is about."""
        result = {field.place.path: field for field in self.query(Field) if field.place.table == table}
        reasons: dict[Path, list[str]] = {}
        for problem in problems:
            path = problem.path
            while path and path not in result:
                path = path[:-1]
            models = result[path].form_field.models if path else None
            inside = path_in_words(models or {}, self.draft.value(table, path), problem.path[len(path) :])
            reasons.setdefault(path, []).append(f"{inside}: {problem.reason}" if inside else problem.reason)
        for path, field in result.items():
            field.show_problem("; ".join(reasons.get(path, ())))

    def show_rows(self, texts: Mapping[str, RowText]) -> None:
        """Show what the page knows about each field, and fold what needs no attention."""
        found = list(self.query(Field))
        for field in found:
            field.show_text(texts.get(field.key, RowText()))
        if not self._order:
            return
        groups: dict[Field, Group] = {field: self._group(field) for field in found}
        self._groups = dict(zip((field.key for field in found), groups.values(), strict=True))
        places = {field: index for index, field in enumerate(found)}

        def place(widget: Widget) -> tuple[int, int, int]:
            if isinstance(widget, Field):
                return GROUPS.index(groups[widget]), self._order.get(widget.key, len(self._order)), places[widget]
            return GROUPS.index(widget.group if isinstance(widget, Fold) else "main"), -1, 0

        if [*self.children] != sorted(self.children, key=place):
            self.sort_children(key=place)
        for fold in self.query(Fold):
            inside = [field for field in found if groups[field] == fold.group]
            if any(field.problem or field.text.mood == "bad" for field in inside):
                fold.is_open = True
            for field in inside:
                _display(field, fold.is_open)
            if fold.count != len(inside):
                fold.count = len(inside)
                fold.refresh()
            _display(fold, bool(inside))
        for field in found:
            if groups[field] == "main":
                _display(field, True)

    def _group(self, field: Field) -> Group:
        before = self._groups.get(field.key)
        if before is not None and (field.key in self._touched or field.has_focus_within or field.has_focus):
            return before
        if field.key not in self._order or field.key in self._advanced:
            return before or ("main" if field.is_changed and field.form_field.widget != "part" else "advanced")
        return "right" if field.text.mood == "good" and not field.problem else "main"

    def unfold(self, field: Field) -> None:
        """Make a field visible."""
        for fold in self.query(Fold):
            if fold.group == self._groups.get(field.key) and not fold.is_open:
                fold.action_take()


def _display(widget: Widget, on: bool) -> None:
    if widget.display != on:
        widget.display = on


class OptionalPart(ChoiceField):
    """The check box of an optional part; its fields are below it while it is enabled."""

    def on_select(self, index: int) -> None:
        self.choose(None)

    def choose(self, value: Any) -> None:
        self.tell({} if self.value is None else None)
        self.redraw()
        self.call_later(self._mount_or_remove)

    @while_mounted
    async def _mount_or_remove(self) -> None:
        form = self.query_ancestor(Form)
        inside = [field for field in form.query(Field) if field.place.path[: len(self.place.path)] == self.place.path]
        await form.remove_children([field for field in inside if field is not self])
        if self.value is not None and is_live(self):
            draft = form.draft
            await form.mount_all(fields(self.form_field.model, self.place, draft), after=self)
            self.post_message(Changed(self.place.table, self.place.path, self.value))

    @property
    def is_on(self) -> bool:
        return self.value is not None


def fields(settings: type[SettingsPart], path: FieldPath, draft: Draft) -> Iterator[Widget]:
    """The fields of a table or of a part of it."""
    for form_field in form_fields(settings):
        below = path.below(form_field.info.name)
        value = _value(form_field, below, draft)
        if form_field.widget == "part" and form_field.optional:
            yield OptionalPart(form_field.as_widget("yes-no"), below, value)
            if value is not None:
                yield from fields(form_field.model, below, draft)
        elif form_field.widget == "part":
            if path.table == ROW_TABLE:
                yield Static(tr(form_field.info.label), classes="part")
            yield from fields(form_field.model, below, draft)
        else:
            yield FIELDS[form_field.widget](form_field, below, value)


def _value(form_field: FormField, path: FieldPath, draft: Draft) -> Any:
    if draft.has(path.table, path.path):
        return draft.value(path.table, path.path)
    return plain_default(form_field)
