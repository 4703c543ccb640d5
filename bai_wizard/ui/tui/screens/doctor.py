"""Guided troubleshooting: problems by root cause, with details beside them on wide screens."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input

from bai_wizard.core.page import Finding
from bai_wizard.doctor.story import is_safe
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import TITLES
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, while_mounted, wizard
from bai_wizard.ui.tui.screens.finding import FindingScreen, SearchScreen, copy_commands, review_fixes
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.findings import Findings, details
from bai_wizard.ui.tui.widgets.list_box import ListBox


class DoctorScreen(WizardScreen[None]):
    """Root causes and problems first. Passed checks are hidden until requested."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "fix", "Fix", id="doctor.fix"),
        Binding("F", "fix_all", "Fix all safe ones", id="doctor.fix-all"),
        Binding("r", "recheck", "Check again", id="doctor.recheck"),
        Binding("c", "copy", "Copy the command", id="doctor.copy"),
        Binding("p", "page", "Page", id="doctor.page"),
        Binding("g", "go_to_page", "Go to the page", id="doctor.go"),
        Binding("n", "problem(1)", "Next problem", id="doctor.problem"),
        Binding("N", "problem(-1)", "Previous problem", id="doctor.problem2", show=False),
        Binding("slash", "filter", "Filter", id="doctor.filter"),
    ]
    HELP = "doctor"
    NEEDS = ("#findings", "#doctor-details", "#doctor-filter")

    def __init__(self) -> None:
        super().__init__()
        self._findings: list[Finding] = []

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), classes="title")
        yield Static(tr("Checks are read-only: they change nothing."), id="doctor-text")
        yield Input(placeholder=tr("filter, Enter: done, Esc: all"), compact=True, id="doctor-filter")
        with Horizontal(id="doctor-middle"):
            with VerticalScroll(id="doctor-body", can_focus=False):
                yield Findings(tr("checking…"))
            with VerticalScroll(id="doctor-details"):
                yield Static(id="doctor-finding")
        labels = {"fold": tr("Show all"), "search": tr("Search by error message"), "fix_all": ""}
        yield Actions({**labels, "again": tr("Refresh")})
        yield Keys(
            (
                ("Enter", N_("Open")),
                ("f", N_("Fix")),
                ("n", N_("Next problem")),
                ("r", N_("Check again")),
                ("/", N_("Filter")),
                ("p", N_("Page")),
                ("g", N_("Go to the page")),
                ("c", N_("Copy the command")),
                ("Esc", N_("Back")),
            )
        )

    def begin(self) -> None:
        self.query_one(Findings).focus()
        self.action_again()

    def action_again(self) -> None:
        """Run all checks again."""
        self._findings = []
        self.query_one(Findings).show((), tr("checking…"))
        run_in_thread(self.app, wizard(self).examine, self._examined, self._failed)

    def action_recheck(self) -> None:
        """Rerun the check under the cursor and those that wait for it."""
        finding = self.query_one(Findings).at_cursor()
        if finding is None:
            return
        wanted = {finding.id} | {each.id for each in self._findings if each.suppressed_by == finding.id}
        wizard(self).tell(tr("Checking again: {what}", what=tr(finding.title)))
        run_in_thread(self.app, lambda: wizard(self).examine(wanted), self._examined_some, self._failed)

    def _failed(self, error: Exception) -> None:
        self.query_one(Findings).show((), reason_of(error))

    def _examined(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._show()

    def _examined_some(self, findings: list[Finding]) -> None:
        new: dict[str, list[Finding]] = {}
        for finding in findings:
            new.setdefault(finding.id, []).append(finding)
        kept: list[Finding] = []
        for finding in self._findings:
            # A check may have several findings: the new ones replace all of them, where the first one was.
            kept += new.pop(finding.id, []) if finding.id in new else []
            kept += [finding] if finding.id not in {each.id for each in findings} else []
        self._examined(kept)
        counts = Counter(finding.result for finding in findings)
        bad = counts["problem"] + counts["warning"]
        wizard(self).tell(tr("Checked again: {result}", result=tr("still a problem") if bad else tr("passed")))

    def _show(self) -> None:
        counted = Counter(finding.result for finding in self._findings if not finding.ignored)
        counts = (
            ntr("{count} problem", "{count} problems", counted["problem"] + counted["crashed"]),
            ntr("{count} warning", "{count} warnings", counted["warning"]),
            tr("{count} unknown", count=counted["cannot-tell"]),
            tr("{count} passed", count=counted["ok"]),
        )
        shown, actions = self.query_one(Findings), self.query_one(Actions)
        filters = [tr("page {page}", page=tr(TITLES[shown.page]))] if shown.page else []
        filters += [f"/{shown.words}"] if shown.words else []
        text = ", ".join(counts) + (f"   {'   '.join(filters)}" if filters else "")
        self.query_one("#doctor-text", Static).update(text)
        is_filtered = bool(filters) and bool(self._findings)
        empty = tr("Nothing matches the filter.") if is_filtered else tr("The checks found no problems.")
        shown.show(self._findings, empty)
        actions.relabel("fold", tr("Problems only") if shown.shows_all else tr("Show all"))
        safe = len(self._safe())
        actions.relabel("fix_all", tr("Fix all safe ({count})", count=safe) if safe else "")
        self._show_details()

    def _safe(self) -> list[Finding]:
        return [finding for finding in self._findings if is_safe(finding)]

    @on(ListBox.Highlighted, "Findings")
    def _highlighted(self) -> None:
        self._show_details()

    def on_resize(self) -> None:
        """Wrap the details to their width."""
        self.call_after_refresh(self._show_details)

    @while_mounted
    def _show_details(self) -> None:
        for place in self.query("#doctor-finding").results(Static):
            row = self.query_one(Findings).row()
            width = max(20, self.query_one("#doctor-details").size.width - 2)
            is_finding = row is not None and row.finding is not None
            place.update(
                details(row.finding, width, row.story) if row and row.finding and is_finding else Content("")
            )

    @on(ListBox.Selected, "Findings")
    def action_open(self) -> None:
        row = self.query_one(Findings).row()
        if row is not None and row.finding is not None:
            wizard(self).show(FindingScreen(row.finding, row.story))

    def action_fold(self) -> None:
        """Show passed checks too, or hide them again."""
        shown = self.query_one(Findings)
        shown.shows_all = not shown.shows_all
        self._show()

    def action_fix(self) -> None:
        """Show the fix of the finding under the cursor for review."""
        finding = self.query_one(Findings).at_cursor()
        if finding is not None and finding.remedy:
            review_fixes(wizard(self), [finding])
        else:
            wizard(self).tell(tr("No automatic fix is available; Enter shows what to do."))

    def action_fix_all(self) -> None:
        """Review all fixes together that interrupt nothing and have no risk."""
        if safe := self._safe():
            review_fixes(wizard(self), safe)
        else:
            wizard(self).tell(tr("No safe fixes are available."))

    def action_copy(self) -> None:
        copy_commands(wizard(self), self.query_one(Findings).at_cursor())

    def action_page(self) -> None:
        """Show the findings of one page; the next key press shows the next page's."""
        shown = self.query_one(Findings)
        pages = ["", *shown.pages()]
        shown.page = pages[(pages.index(shown.page) + 1) % len(pages)] if shown.page in pages else ""
        self._show()

    def action_problem(self, by: int) -> None:
        """Go to the next root cause or warning."""
        shown = self.query_one(Findings)
        if shown.go_to_next(by, lambda row: row.story is not None and row.finding is row.story.cause):
            shown.focus()
        else:
            wizard(self).tell(tr("No problems."))

    def action_go_to_page(self) -> None:
        """Open the page whose settings the finding is about."""
        finding = self.query_one(Findings).at_cursor()
        if finding is not None and finding.page in TITLES:
            wizard(self).go_to_page(finding.page)

    def action_filter(self) -> None:
        """Filter the findings by words."""
        self.add_class("-filter")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _filtered(self, event: Input.Changed) -> None:
        self.query_one(Findings).words = event.value
        self._show()

    @on(Input.Submitted)
    def _filter_done(self) -> None:
        self.query_one(Findings).focus()

    def action_no(self) -> None:
        """Remove the filters first, and only then close the screen."""
        shown = self.query_one(Findings)
        if not self.has_class("-filter") and not shown.page:
            self.dismiss()
            return
        self.remove_class("-filter")
        shown.page = ""
        self.query_one(Input).clear()
        shown.words = ""
        shown.focus()
        self._show()

    def action_search(self) -> None:
        """Ask for an error message, a line or a whole log, and show which failure it most likely is."""
        from bai_wizard.ui.tui.screens.dialogs import PasteScreen

        message = tr("Paste or type the error message, one line or a whole log; then press Tab and Enter.")
        question = PasteScreen(tr("Search by error message"), message, tr("Search"))
        wizard(self).show(question, self._search_for)

    def _search_for(self, text: str | None) -> None:
        if text and text.strip():
            wizard(self).show(SearchScreen(text))
