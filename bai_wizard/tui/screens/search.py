"""Which failure says such a text, and whether it is that one here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.core.secret import redact
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.findings import Findings
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.survey import reason_of

if TYPE_CHECKING:
    from bai_wizard.core.finding import Finding
    from bai_wizard.doctor.search import Candidate

WORDS = {
    "confirmed": "It is this one",
    "waits": "It may be this one, and something else comes first",
    "open": "It may be this one (no probe can tell here)",
    "excluded": "Not this one here",
}


class SearchScreen(WizardScreen[None]):
    """Candidates that a probe confirmed come first; what it found can be opened, and its remedy seen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back", id="search.back")]
    HELP = "doctor"
    NEEDS = ("#search-text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        yield Static(tr("Search an error text"), markup=False, classes="title")
        with VerticalScroll(id="search-body"):
            yield Findings()
            yield Static(tr("looking…"), markup=False, id="search-text")
        yield Keys((("arrows", "Scroll"), ("Enter", "Open"), ("Esc", "Back")))

    def begin(self) -> None:
        app, text = wizard(self), self.text

        def search() -> tuple[Candidate, ...]:
            from bai_wizard.doctor.run import all_checks
            from bai_wizard.doctor.search import search

            return search(text, app.desk.machine, app.surveyor.draft.wish_to_look().context, all_checks())

        self.query_one(Findings).display = False
        self.query_one("#search-body").focus()
        behind(self.app, search, self._searched)

    def _searched(self, outcome: Outcome[tuple[Candidate, ...]]) -> None:
        if not self.is_mounted:
            return
        shown = self.query_one("#search-text", Static)
        if outcome.error is not None:
            shown.update(reason_of(outcome.error))
            return
        here = _bad(outcome.get())
        if here:
            findings = self.query_one(Findings)
            findings.show(here, "")
            findings.display = True
            findings.focus()
        found = [_candidate(each) for each in outcome.get()]
        nothing = Content(tr("Nothing is known about this text. A whole log may say more."))
        shown.update(Content("\n\n").join(found or [nothing]))

    @on(Walk.Taken, "Findings")
    def action_open(self) -> None:
        """Shows everything about the finding under the cursor."""
        from bai_wizard.tui.screens.doctor import FindingScreen

        finding = self.query_one(Findings).at_cursor()
        if finding is not None:
            wizard(self).show(FindingScreen(finding))


def _bad(candidates: tuple[Candidate, ...]) -> list[Finding]:
    """What the probes found wrong, once each, the likeliest first."""
    found = [finding for each in candidates for finding in each.findings if finding.result in ("problem", "warning")]
    return list(dict.fromkeys(found))


def _candidate(each: Candidate) -> Content:
    failure = each.failure
    lines = [
        Content.styled(f"{tr(WORDS[each.state])}: {failure.title}", "dim" if each.state == "excluded" else "bold")
    ]
    if each.state != "excluded":
        said = ((tr("Cause"), failure.cause), (tr("What to do"), failure.remedy), (tr("Risk"), failure.risk))
        lines += [Content(f"  {label}: {redact(text)}") for label, text in said if text]
        lines += [Content(f"  {finding.result}: {finding.title}") for finding in each.findings]
    return Content("\n").join(lines)
