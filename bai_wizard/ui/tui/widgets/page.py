"""An open page: its current state, its reference table, its forms and its planned changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from bai_wizard.compose import table_of
from bai_wizard.core.page import Page, Probing, Shown
from bai_wizard.core.step import PlannedStep
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import settings_of
from bai_wizard.ui.draft import tables_of
from bai_wizard.ui.form_fields import plain_default
from bai_wizard.ui.page_rows import Mood, RowText, page_rows
from bai_wizard.ui.plans import unknowns
from bai_wizard.ui.tui.base import Changed, Static, shown, while_mounted, wizard
from bai_wizard.ui.tui.plan_model import PlanModel
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.columns import BELOW, GAP, MOODS, Columns, columns_of
from bai_wizard.ui.tui.widgets.field import Field, FieldHelp
from bai_wizard.ui.tui.widgets.form import Form
from bai_wizard.ui.tui.widgets.list_box import ListBox, cut, in_cell, wrapped
from bai_wizard.ui.tui.widgets.reference_table import ReferenceTableView
from bai_wizard.ui.tui.widgets.row_list import RowList
from bai_wizard.ui.tui.widgets.sidebar import STYLES

TURNS = "|/-\\"


def spinner(spent: float) -> str:
    """A rotating character, four frames per second."""
    return TURNS[int(spent * 4) % len(TURNS)]


class TableHead(Widget):
    """The headings of the columns."""

    DEFAULT_CSS = """
    TableHead { height: 1; width: 1fr; text-style: bold underline; color: $text-muted; }
    """

    def render(self) -> Content:
        columns = columns_of(self.size.width, True)
        texts = ("  " + tr("Item"), tr("Current"), tr("Desired"), tr("Change"))
        cells = (cut(text, size) for text, size in zip(texts, columns, strict=True) if size)
        return shown((" " * GAP).join(cells))


class Items(RowList[RowText | None]):
    """Objects of a page in the columns of its table; those that need no change are folded into one line."""

    def __init__(self, id: str, *, folds: bool) -> None:
        super().__init__(id)
        self.texts: tuple[RowText, ...] = ()
        self._folds = folds
        self._is_open = False
        self.display = False

    def show(self, texts: tuple[RowText, ...]) -> None:
        """Show these objects."""
        if texts != self.texts:
            self.texts = texts
            self.changed()

    def name_of(self, row: RowText | None) -> object:
        return row and row.name

    def draw(self) -> Iterator[tuple[RowText | None, Content]]:
        """The lines of each object; None is the fold."""
        right = [text for text in self.texts if text.mood == "good"] if self._folds else []
        columns = item_columns(self.texts, self.width)
        for text in self.texts:
            if text not in right:
                yield from ((text, line) for line in row_lines(text, self.width, columns))
        if right:
            count = ntr("{count} already right", "{count} already right", len(right))
            yield None, Content.styled(f"{'▾' if self._is_open else '▸'} {count}", "$text-muted")
        if self._is_open:
            yield from ((text, line) for text in right for line in row_lines(text, self.width, columns))

    def changed(self) -> None:
        super().changed()
        if self.display != bool(self.rows):
            self.display = bool(self.rows)

    def find(self, name: str) -> bool:
        """Move the cursor to an object, also a folded one; False if it is not here."""
        if all(text.name != name for text in self.texts):
            return False
        if all(row is None or row.name != name for row, _ in self.rows):
            self._is_open = True
            self.changed()
        self.cursor = next(index for index, (row, _) in enumerate(self.rows) if row and row.name == name)
        return True

    def on_select(self, index: int) -> None:
        if self.rows[index][0] is None:
            self._is_open = not self._is_open
            self.changed()
        else:
            super().on_select(index)


def item_columns(rows: Sequence[RowText], width: int) -> Columns:
    """The columns of objects: names are not broken if they leave room for their states."""
    rows = [row for row in rows if row.now or row.want]
    usual = columns_of(width, True)
    label = max((cell_len(row.label) + 2 for row in rows), default=0)
    if not usual.change or label <= usual.label:
        return usual
    label = min(label, width * 2 // 5)
    change = min(usual.change, max(cell_len(row.change) for row in rows)) or usual.change
    rest = width - label - change - 3 * GAP
    return Columns(label, rest // 2, rest - rest // 2, change)


def row_lines(row: RowText, width: int, columns: Columns) -> Iterator[Content]:
    """An object in the columns of the table; what does not fit is wrapped within its column."""
    if not row.want and not row.change:
        # Only its state, which may use all other columns.
        yield from map(Content, _side_by_side([(row.label, columns.label, row.mood), (row.now, width, "")], width))
        return
    cells: list[tuple[str, int, Mood]] = [
        (row.label, columns.label, row.mood),
        (row.now, columns.now, ""),
        (row.want, columns.want, ""),
    ]
    if not row.now and not row.want:
        cells = [(row.label, columns.at_want + columns.want, row.mood)]
    begin = sum(size + GAP for _, size, _ in cells)
    change = in_cell(row.change, columns.change) if columns.change else []
    left = list(_side_by_side(cells, begin))
    for index in range(max(len(left), len(change))):
        done = Content.styled(change[index] if index < len(change) else "", MOODS[row.mood])
        yield Content.assemble(set_cell_size(left[index] if index < len(left) else "", begin), done)
    below = f"! {row.reason}" if row.reason else f"→ {row.change}" if row.change and not columns.change else ""
    for line in wrapped(below, max(10, width - BELOW)) if below else ():
        yield Content.styled(" " * BELOW + line, MOODS[row.mood])


def _side_by_side(cells: Sequence[tuple[str, int, Mood]], width: int) -> Iterator[str]:
    """Texts in columns of these sizes, each wrapped; the first one is indented by its mark."""
    drawn: list[tuple[list[str], int]] = []
    begin = 0
    for index, (text, limit, mood) in enumerate(cells):
        size = max(1, min(limit, width - begin))
        lines = in_cell(text, max(4, size if index else size - 2))
        if not index:
            lines = [("! " if mood == "bad" and not at else "  ") + line for at, line in enumerate(lines)]
        drawn.append((lines, size))
        begin += size + GAP
    for at in range(max(len(lines) for lines, _ in drawn)):
        yield (" " * GAP).join(set_cell_size(lines[at] if at < len(lines) else "", size) for lines, size in drawn)


# What a newcomer needs, shown until another text uses the space.
FIRST_KEYS = N_("Arrows move, Enter opens, Space selects, Esc goes back, ? helps. Nothing changes until you confirm.")

# How often the spinners turn, on a slow line and elsewhere, and durations too short to report; in seconds.
SLOW_TURN, TURN, SOON = 3.0, 0.25, 0.8
# The least width at which the title has room for what the page is about.
WIDE = 90


class PageView(Vertical):
    """One page of the wizard: a table of its fields and objects. Only the visible page is mounted."""

    def __init__(self, page: Page, plan_model: PlanModel) -> None:
        super().__init__(id=f"page-{page.name}", classes="page")
        self.page = page
        self.plan_model = plan_model
        # Set when the fields are mounted: opening the page waits for it, so that type-ahead keys reach them.
        self.ready = asyncio.Event()
        # The field whose help is shown; the help screen shows the full text.
        self.helped: Field | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="page-title")
        if self.page.reference_table is None:
            yield TableHead()
        with VerticalScroll(classes="body", can_focus=False):
            if self.page.reference_table is not None:
                yield ReferenceTableView()
                yield TableHead(classes="inside")
            yield Items("blocked", folds=False)
            tables = {table: settings_of(table) for table in tables_of(self.page.name)}
            yield Form(tables, self.plan_model.draft, self.page.rows)
            yield Items("items", folds=True)
            yield Items("others", folds=False)
        yield FieldHelp(tr(FIRST_KEYS))
        labels = {"apply_page": tr("Apply page"), "diff": tr("Diff"), "skip": tr("Skip"), "recheck": tr("Refresh")}
        yield Actions(labels)

    def on_mount(self) -> None:
        self.plan_model.moved.subscribe(self, self._moved)
        self.show()
        self.set_interval(SLOW_TURN if wizard(self).console_kind.serial else TURN, self._turn)

    def on_unmount(self) -> None:
        # A signal holds a reference to its subscriber until it is next published, and with a page all of its fields.
        self.plan_model.moved.unsubscribe(self)

    def on_resize(self) -> None:
        self._show_title(self.page.name in self.plan_model.draft.skipped)

    @on(Form.Ready)
    def _form_ready(self) -> None:
        self.show()
        self.ready.set()

    @while_mounted
    def _turn(self) -> None:
        """Turn the spinners and update the elapsed time of each deadline."""
        if self.plan_model.looks_for(self.page.name):
            self.show()

    @while_mounted
    def _moved(self, page: str) -> None:
        if page in ("", self.page.name):
            self.show()

    def show(self) -> None:
        """Show what is known now about every row."""
        name, draft, model = self.page.name, self.plan_model.draft, self.plan_model
        skipped = name in draft.skipped
        desired = draft.desired_to_probe()
        planned = () if skipped or not draft.is_valid(name) else model.all_steps(name)
        rows = page_rows(
            self.page,
            desired.settings,
            model.fact_cache.facts(name),
            desired.context,
            planned,
            self._now(),
        )
        for form in self.query(Form):
            for table in form.tables:
                form.show_problems(table, draft.problems(table))
            form.show_rows(rows.fields)
        self.query_one("#blocked", Items).show(rows.blocked)
        self.query_one("#items", Items).show(rows.items)
        self.query_one("#others", Items).show(rows.others)
        self._show_sheet()
        self._show_title(skipped)
        actions = self.query_one(Actions)
        actions.relabel("skip", tr("Include") if skipped else tr("Skip"))
        actions.enable("apply_page", not skipped and draft.is_valid(name))
        self.set_class(skipped, "-skipped")
        if self.helped is not None:
            self._show_help(self.helped)

    def _show_title(self, skipped: bool) -> None:
        status = self.plan_model.status(self.page.name)
        note = self._note(skipped)
        width = self.size.width or self.app.size.width
        text = Content.assemble((f" {tr(self.page.title)}", "bold"), "   ", (status.word, STYLES[status.mood]))
        rest = note or (tr(self.page.summary) if width >= WIDE else "")
        lines = wrapped(rest, max(10, width - 2))
        if len(lines) == 1 and cell_len(lines[0]) <= width - text.cell_length - 4:
            text = Content.assemble(text, "   ", lines[0])
        elif note:
            text = Content("\n").join([text, *(Content(f" {line}") for line in lines)])
        self.query_one("#page-title", Static).update(text)

    def _note(self, skipped: bool) -> str:
        """Notes about the whole page."""
        name, model = self.page.name, self.plan_model
        spent = model.looks_for(name)
        if skipped:
            return tr("This page is skipped: it changes nothing on this node.")
        if name in model.reasons:
            return tr("Check failed: {reason}", reason=tr(model.reasons[name]))
        if model.fact_cache.so_far(name) is None:
            return f"{spinner(spent)} " + tr("checking, {seconds} s", seconds=int(spent))
        if spent > SOON and model.fact_cache.facts(name) is not None:
            return f"{spinner(spent)} " + tr("re-checking, {seconds} s", seconds=int(spent))
        if model.reason:
            return tr("Planning failed: {reason}", reason=tr(model.reason))
        unset = [item.reason for item in model.plan.unset if item.page == name] if model.plan is not None else []
        return "; ".join(map(tr, unset))

    def _show_sheet(self) -> None:
        facts = self.plan_model.fact_cache.facts(self.page.name)
        if self.page.reference_table is None or facts is None:
            return
        desired = self.plan_model.draft.desired_to_probe()
        table = self.page.reference_table(desired.settings[table_of(self.page.name)], facts, desired.context)
        view = self.query_one(ReferenceTableView)
        if table != view.sheet:
            view.show(table)

    def _now(self) -> list[tuple[str, str]]:
        """The facts as labels and values; the labels are not translated yet."""
        name, model = self.page.name, self.plan_model
        facts = model.fact_cache.so_far(name)
        if name in model.reasons or facts is None:
            return []
        spent = model.looks_for(name)
        now = model.fact_cache.now(name)
        told = [value.fact for _, value in now if isinstance(value, Shown)]
        pairs = [(what, self._waiting(spent, value)) for what, value in now]
        return pairs + [
            (what, tr("unknown: {reason}", reason=fact.reason)) for what, fact in unknowns(facts) if fact not in told
        ]

    def _waiting(self, spent: float, value: str) -> str:
        """A value, or how long the probe has been waiting for it."""
        if not (isinstance(value, Shown) and isinstance(value.fact, Probing)):
            return value
        limit = f"{value.fact.deadline:g}"
        message = tr("checking, {seconds} of at most {deadline} s", seconds=int(spent), deadline=limit)
        return f"{spinner(spent)} {message}"

    @on(Field.Focused)
    def _help(self, event: Field.Focused) -> None:
        self.helped = event.field
        self._show_help(event.field)

    def _show_help(self, field: Field) -> None:
        self.query_one(FieldHelp).show(field.help, "  ".join(field.text.details))

    def reset_field(self) -> None:
        """Set the field under the cursor to its default."""
        focused = self.screen.focused
        for field in self.query(Field):
            if focused in (field, *field.children) and field.is_changed:
                self.plan_model.draft.drop(field.place.table, field.place.path)
                field.set_value(plain_default(field.form_field))
                self.plan_model.edited()

    def go_to_first(self) -> bool:
        """Focus what comes first on the page."""
        inside = [widget for widget in self.screen.focus_chain if self in widget.ancestors]
        if inside:
            self.screen.set_focus(inside[0])
        return bool(inside)

    def go_to_problem(self, by: int = 0) -> bool:
        """Focus a field or an object that is wrong, blocked or required but empty; False without one."""
        bad: list[tuple[Field | Items, int]] = []
        for widget in self.query("Field, Items"):
            if isinstance(widget, Field) and _needs_attention(widget):
                bad.append((widget, 0))
            elif isinstance(widget, Items):
                lines: dict[str, int] = {}
                for index, (row, _) in enumerate(widget.rows):
                    if row is not None and row.mood == "bad":
                        lines.setdefault(row.name, index)
                bad += [(widget, line) for line in lines.values()]
        focused = self.screen.focused
        here = [
            index
            for index, (widget, line) in enumerate(bad)
            if focused in (widget, *widget.children) and (isinstance(widget, Field) or line <= widget.cursor)
        ]
        if by and here:
            bad = bad[here[-1] + 1 :] if by > 0 else bad[: here[-1]][::-1]
        if not bad:
            return False
        widget, line = bad[0]
        if isinstance(widget, Items):
            widget.cursor = line
        self.screen.set_focus(widget)
        return True

    def go_to_place(self, key: str) -> bool:
        """Focus a field by its path, or an object by its label, also in a folded group; False without it."""
        for field in self.query(Field):
            if field.key == key:
                self.query_one(Form).unfold(field)
                self.call_after_refresh(self._focus, field)
                return True
        for items in self.query(Items):
            if items.find(key):
                self.call_after_refresh(self._focus, items)
                return True
        return False

    @while_mounted
    def _focus(self, widget: Widget) -> None:
        self.screen.set_focus(widget)

    def steps_at_cursor(self) -> tuple[PlannedStep, ...]:
        """The steps of the row that has, or last had, the cursor."""
        focused = self.screen.focused
        if isinstance(focused, Items):
            row = focused.row()
            return row.steps if row is not None else ()
        return self.helped.text.steps if self.helped is not None else ()

    @on(ReferenceTableView.Noted)
    def _row_noted(self, event: ReferenceTableView.Noted) -> None:
        self.helped = None
        self.query_one(FieldHelp).show(event.text)

    @on(ReferenceTableView.Chosen)
    def _row_chosen(self, event: ReferenceTableView.Chosen) -> None:
        table, *path = event.field.split(".")
        self.post_message(Changed(table, tuple(path), event.value))

    @on(ListBox.Selected, "Fold")
    def _folded(self) -> None:
        self.show()


def _needs_attention(field: Field) -> bool:
    return bool(field.problem) or field.text.mood == "bad" or field.is_missing
