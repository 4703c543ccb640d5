"""The selectable steps of a plan, grouped by page and purpose, below the disruptions that need consent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content

from bai_wizard.core.consent import Disruptions, Interrupt, names_of
from bai_wizard.core.step import Blocked, PlannedStep
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import TITLES
from bai_wizard.ui import present
from bai_wizard.ui.present import reason_in_words
from bai_wizard.ui.summary import group_of, group_title, groups_of, short_title
from bai_wizard.ui.tui.widgets.row_list import RowList
from bai_wizard.ui.workloads import workload_lines

# What each kind of interruption means.
INTERRUPTS: dict[Interrupt, str] = {
    "docker.restart": N_("Restarting Docker stops"),
    "gpu.reload": N_("Reloading the GPU driver interrupts"),
    "umount": N_("Unmounting a file system interrupts"),
}
# How many of the affected containers or processes are named.
NAMES = 20

Kind = Literal["heading", "consent", "page", "group", "step", "note"]


class Row(NamedTuple):
    """What one or more lines represent. `key`: an interruption, a page, a group or a step, as its kind says."""

    kind: Kind
    key: str = ""
    steps: tuple[PlannedStep, ...] = ()


def interruption_text(what: Interrupt, disruptions: Disruptions) -> str:
    """What would be interrupted, and by what."""
    return f"{tr(INTERRUPTS[what])} {names_of(disruptions[what], NAMES)}"


class ReviewList(RowList[Row]):
    """Space includes or excludes a step, a group or a page; Enter and Right unfold, Left folds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "include", "Exclude", show=False, id="review.toggle"),
        Binding("right", "fold(False)", "Unfold", show=False, id="review.unfold"),
        Binding("left", "fold(True)", "Fold", show=False, id="review.fold"),
    ]

    def __init__(self) -> None:
        super().__init__("chosen")
        self.steps: list[PlannedStep] = []
        self.left_out: set[str] = set()
        self.consented: set[Interrupt] = set()
        self.disruptions: Disruptions = {}
        # Pages that are not part of the plan: their names and why.
        self.missing: dict[str, str] = {}
        self._notes: tuple[str, ...] = ()
        self._unfolded: set[str] = set()

    def show(self, steps: Sequence[PlannedStep], notes: Iterable[str] = ()) -> None:
        """Show these steps, with the pages in the order in which they occur; a single page is unfolded."""
        if not self.steps and len(pages := {planned.step.page for planned in steps}) == 1:
            self._unfolded |= pages
        self.steps, self._notes = list(steps), tuple(notes)
        self.changed()

    def interrupt(self, disruptions: Disruptions) -> None:
        """Show what would be interrupted; a set other than the one shown before needs a new consent."""
        self.consented = {what for what in self.consented if disruptions.get(what) == self.disruptions.get(what)}
        added = [what for what in disruptions if what not in self.disruptions]
        self.disruptions = disruptions
        self.changed()
        if added:
            self.cursor = next(index for index, (row, _) in enumerate(self.rows) if row.kind == "consent")

    def name_of(self, row: Row) -> object:
        return row[:2]

    def at_cursor(self) -> Row:
        """The row under the cursor."""
        return self.row() or Row("note")

    @property
    def blocked(self) -> tuple[PlannedStep, ...]:
        """The steps that must not be applied and are not excluded."""
        return tuple(
            item for item in self.steps if isinstance(item.verdict, Blocked) and item.step.id not in self.left_out
        )

    # Drawing.

    def draw(self) -> Iterator[tuple[Row, Content]]:
        if self.disruptions:
            yield Row("heading"), Content.styled(tr("Disruptions: allow them, or exclude their steps"), "bold")
        for what in self.disruptions:
            mark = "X" if what in self.consented else " "
            message = tr("Allow: {what}", what=interruption_text(what, self.disruptions))
            yield from self.wrap(Row("consent", what), f"[{mark}] ", message, "$text-warning")
            for line in workload_lines(self.disruptions[what])[:NAMES]:
                yield from self.wrap(Row("consent", what), "      ", line, "$text-warning")
        for page in dict.fromkeys(planned.step.page for planned in self.steps):
            yield from self._page(page)
        for page, reason in self.missing.items():
            text = tr("{page}: not included, {reason}", page=tr(TITLES[page]), reason=reason)
            yield from self.wrap(Row("page", page), "[ ] ", text, "$text-warning")
        for note in self._notes:
            yield from self.wrap(Row("note"), "", note, "")

    def _page(self, page: str) -> Iterator[tuple[Row, Content]]:
        steps = tuple(planned for planned in self.steps if planned.step.page == page)
        row, is_open = Row("page", page, steps), page in self._unfolded
        title = set_cell_size(tr(TITLES[page]), max(14, cell_len(tr(TITLES[page]))))
        head = f"[{self._mark(steps)}] {'▾' if is_open else '▸'} {title} "
        tail = self._words(steps)
        kept = [planned for planned in steps if planned.step.id not in self.left_out]
        count = ntr("{count} step", "{count} steps", len(steps))
        if len(kept) < len(steps):
            count = tr("{count} of {steps}", count=len(kept), steps=count)
        room = self.width - cell_len(head) - cell_len(count) - cell_len(tail) - 6
        summary = "" if is_open else summary_of([short_title(*group) for group in groups_of(steps)], room)
        yield from self._with_tail(row, Content.styled(head, "bold"), f" {count}  {summary}".rstrip(), tail)
        yield from self._reasons(row, steps)
        if is_open:
            for group, members in groups_of(steps):
                yield from self._group(group, members)

    def _with_tail(self, row: Row, head: Content, text: str, tail: str) -> Iterator[tuple[Row, Content]]:
        """A line with its special properties at the end, or below it if they do not fit."""
        if not tail or head.cell_length + cell_len(text) + cell_len(tail) + 2 <= self.width:
            yield row, Content.assemble(head, text, "  ", (tail, "$text-warning")) if tail else head + text
            return
        yield row, head + text
        yield from self.wrap(row, "      ", tail, "$text-warning")

    def _group(self, group: str, members: tuple[PlannedStep, ...]) -> Iterator[tuple[Row, Content]]:
        if len(members) == 1:
            yield from self._step(members[0], "    ")
            return
        is_open = group in self._unfolded
        text = f"    [{self._mark(members)}] {'▾' if is_open else '▸'} {group_title(group, members)}"
        yield from self._with_tail(Row("group", group, members), Content(text), "", self._words(members))
        if is_open:
            for member in members:
                yield from self._step(member, "        ")

    def _step(self, planned: PlannedStep, lead: str) -> Iterator[tuple[Row, Content]]:
        out = planned.step.id in self.left_out
        words = [*present.tags(planned.step), *([tr("takes minutes")] if planned.step.is_slow else [])]
        tail = f"  [{', '.join(words)}]" if words and not out else ""
        row = Row("step", planned.step.id, (planned,))
        yield from self.wrap(
            row, f"{lead}[{' ' if out else 'X'}] ", tr(planned.step.describe()) + tail, "dim" if out else ""
        )

    def _reasons(self, row: Row, steps: Iterable[PlannedStep]) -> Iterator[tuple[Row, Content]]:
        """Why steps must not be applied; those that only depend on another blocked step are counted."""
        blocked = [
            (planned, planned.verdict)
            for planned in steps
            if isinstance(planned.verdict, Blocked) and planned.step.id not in self.left_out
        ]
        for planned, verdict in blocked:
            if not verdict.depends_on:
                text = f"{tr(planned.step.describe())}: {reason_in_words(verdict)}"
                yield from self.wrap(row, "    ! ", text, "$text-error")
        if dependent := sum(1 for _, verdict in blocked if verdict.depends_on):
            text = ntr("{count} step depends on a blocked one", "{count} steps depend on a blocked one", dependent)
            yield from self.wrap(row, "    ! ", text, "$text-error")

    def _mark(self, steps: Sequence[PlannedStep]) -> str:
        kept = sum(1 for planned in steps if planned.step.id not in self.left_out)
        return "X" if kept == len(steps) else "-" if kept else " "

    def _words(self, steps: Iterable[PlannedStep]) -> str:
        kept = [planned for planned in steps if planned.step.id not in self.left_out]
        words = dict.fromkeys(word for planned in kept for word in present.tags(planned.step))
        return f"[{', '.join(words)}]" if words else ""

    # Key actions.

    def go_to_blocked(self, by: int) -> bool:
        """Move the cursor to the next blocked step, or to the folded group or page that contains it."""

        def is_wanted(row: Row) -> bool:
            is_open = row.kind in ("page", "group") and row.key in self._unfolded
            return not is_open and any(step in self.blocked for step in row.steps)

        return self.go_to_next(by, is_wanted)

    def on_select(self, index: int) -> None:
        """Toggle a consent or a step, unfold a page or a group."""
        row = self.rows[index][0]
        if row.kind in ("page", "group") and row.steps:
            self._unfolded ^= {row.key}
            self.changed()
        else:
            self.action_include()

    def action_fold(self, folds: bool) -> None:
        """Fold or unfold the page or group under the cursor; from a step, fold what it belongs to."""
        row = self.at_cursor()
        if row.kind in ("page", "group"):
            (self._unfolded.discard if folds else self._unfolded.add)(row.key)
        elif row.kind == "step" and folds:
            group = group_of(row.steps[0])
            self._unfolded.discard(group if group in self._unfolded else row.steps[0].step.page)
        self.changed()

    def action_include(self) -> None:
        """Allow an interruption, or include or exclude what is under the cursor."""
        row = self.at_cursor()
        if row.kind == "consent":
            self.consented.symmetric_difference_update(what for what in self.disruptions if what == row.key)
        elif row.steps:
            ids = {planned.step.id for planned in row.steps}
            self.left_out = self.left_out - ids if ids <= self.left_out else self.left_out | ids
        else:
            return
        self.changed()
        self.post_message(self.Selected(self, self.cursor))


def summary_of(titles: Iterable[str], room: int) -> str:
    """As many whole titles as fit, actions before paths; how many are left."""
    titles = sorted(titles, key=lambda title: title.startswith("/"))
    shown: list[str] = []
    for number, title in enumerate(titles):
        rest = len(titles) - number - 1
        text = "; ".join([*shown, title]) + (f"; +{rest}" if rest else "")
        if cell_len(text) > room:
            break
        shown.append(title)
    rest = len(titles) - len(shown)
    return "" if not shown else "; ".join(shown) + (f"; +{rest}" if rest else "")
