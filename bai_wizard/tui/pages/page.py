"""A page: what is now, what is wanted, what will change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from bai_wizard.compose import table_of
from bai_wizard.core.page import Page
from bai_wizard.pages import settings_of
from bai_wizard.texts import tr
from bai_wizard.tui.surveyor import Surveyor
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.changes import Changes
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.form import Form
from bai_wizard.tui.widgets.hint import Hint
from bai_wizard.tui.widgets.now import Now, spinner
from bai_wizard.tui.widgets.sheet import SheetView
from bai_wizard.wizard.draft import tables_of
from bai_wizard.wizard.survey import asked, unknowns

# What a newcomer needs, said while nothing else asks for the place.
FIRST_KEYS = "Arrows walk, Enter opens, Space chooses, Esc back, ? help. Nothing changes before you say so."

# How often the spinners turn, on a slow line and elsewhere, and what is too short to be told of; in seconds.
SLOW_TURN, TURN, SOON = 3.0, 0.25, 0.8


class PageView(Vertical):
    """One page of the wizard, its form made from its settings. Only the page that is shown is mounted."""

    def __init__(self, page: Page, surveyor: Surveyor) -> None:
        super().__init__(id=f"page-{page.name}", classes="page")
        self.page = page
        self.surveyor = surveyor
        # Set when the fields are there: whoever opens the page waits for it, so that keys typed ahead find them.
        self.ready = asyncio.Event()
        # The field whose help is shown; the help screen says all of it.
        self.helped: Field | None = None
        self._awaited = len(tables_of(page.name))

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="body", can_focus=False):
            yield Static(tr(self.page.title), markup=False, classes="title")
            yield Static(tr(self.page.summary), markup=False, classes="summary")
            yield from self.parts()
            yield Static(tr("Will change"), markup=False, classes="heading")
            yield Changes()
        yield Hint(tr(FIRST_KEYS))
        labels = {"apply_page": "Apply page", "diff": "Diff", "skip": "Skip", "recheck": "Look again"}
        yield Actions({key: tr(label) for key, label in labels.items()})

    def parts(self) -> Sequence[Widget]:
        """What stands between the summary and the changes. The first page begins with questions, then the node."""
        now = [Static(tr("Now"), markup=False, classes="heading"), Now()]
        want: list[Widget] = [Static(tr("Want"), markup=False, classes="heading")]
        forms = [Form(table, settings_of(table), self.surveyor.draft) for table in tables_of(self.page.name)]
        if self.page.sheet is not None:
            return [*now, *want, *forms, Static(markup=False, id="sheet-title", classes="heading"), SheetView()]
        if self.page.name == "node":
            more = Static(tr("Network and sources"), markup=False, classes="heading")
            return [*want, forms[0], *now, more, *forms[1:]]
        return [*now, *want, *forms]

    def on_mount(self) -> None:
        self.surveyor.moved.subscribe(self, self._moved)
        self.show()
        self.set_interval(SLOW_TURN if wizard(self).console_kind.serial else TURN, self._turn)

    def on_unmount(self) -> None:
        # A signal keeps who left until it is sent again, and with a page all of its fields.
        self.surveyor.moved.unsubscribe(self)

    @on(Form.Ready)
    def _form_ready(self) -> None:
        self._awaited -= 1
        if not self._awaited:
            self.show()
            self.ready.set()

    def _turn(self) -> None:
        """Turns the spinners, and counts what is spent of each deadline."""
        if self.surveyor.looks_for(self.page.name):
            self.query_one(Now).show(self._now())

    def _moved(self, page: str) -> None:
        if page in ("", self.page.name):
            self.show()

    def show(self) -> None:
        """Brings everything but the values of the form up to date."""
        name, draft = self.page.name, self.surveyor.draft
        self.query_one(Now).show(self._now())
        self._show_sheet()
        for form in self.query(Form):
            form.show_troubles(draft.troubles(form.table))
        skipped = name in draft.skipped
        actions = self.query_one(Actions)
        actions.relabel("skip", tr("Do not skip") if skipped else tr("Skip"))
        actions.enable("apply_page", not skipped and draft.is_valid(name))
        self.set_class(skipped, "-skipped")
        self.query_one(Changes).show(() if skipped else self.surveyor.steps(name), self._nothing())

    def _show_sheet(self) -> None:
        facts = self.surveyor.survey.facts(self.page.name)
        if self.page.sheet is None or facts is None:
            return
        wish = self.surveyor.draft.wish_to_look()
        sheet = self.page.sheet(wish.settings[table_of(self.page.name)], facts, wish.context)
        shown = self.query_one(SheetView)
        if sheet != shown.sheet:
            self.query_one("#sheet-title", Static).update(tr(sheet.title))
            shown.show(sheet)

    def _now(self) -> list[tuple[str, str]]:
        name = self.page.name
        reason = self.surveyor.reasons.get(name, "")
        if reason:
            return [("", tr("The node gave no answer: {reason}", reason=reason))]
        facts = self.surveyor.survey.so_far(name)
        spent = self.surveyor.looks_for(name)
        if facts is None:
            return [("", f"{spinner(spent)} " + tr("looking, for {seconds} s", seconds=int(spent)))]
        waits = asked(facts)
        pairs = [
            (tr(what), self._waiting(spent, waits[value]) if value in waits else value)
            for what, value in self.surveyor.survey.now(name)
        ]
        told = {what for what, _ in pairs}
        pairs += [
            (tr(what), tr("cannot tell: {reason}", reason=reason))
            for what, reason in unknowns(facts)
            if tr(what) not in told and not any(reason in value for _, value in pairs)
        ]
        if spent > SOON and self.surveyor.survey.facts(name) is not None:
            again = tr("looking again, for {seconds} s", seconds=int(spent))
            pairs.append(("", f"{spinner(spent)} {again}"))
        return pairs or [("", tr("nothing to tell"))]

    def _waiting(self, spent: float, deadline: float) -> str:
        told = tr("looking, {seconds} of at most {deadline} s", seconds=int(spent), deadline=f"{deadline:g}")
        return f"{spinner(spent)} {told}"

    def _nothing(self) -> str:
        name, draft = self.page.name, self.surveyor.draft
        if name in draft.skipped:
            return tr("This page is skipped: nothing of it will be touched.")
        if not draft.is_valid(name):
            return tr("Something above is missing or wrong; nothing can be planned yet.")
        if self.surveyor.reason:
            return tr("No plan can be made: {reason}", reason=self.surveyor.reason)
        if self.surveyor.plan is None or self.surveyor.survey.facts(name) is None:
            return tr("looking…")
        return tr("Nothing: all of this is in effect.")

    @on(Field.Focused)
    def _help(self, event: Field.Focused) -> None:
        self.helped = event.field
        self.query_one(Hint).show(event.field.help)
