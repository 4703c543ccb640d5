"""One finding with its evidence and its fix, and the search by error message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from bai_wizard.core.page import Finding
from bai_wizard.core.secret import redact
from bai_wizard.doctor.story import Story
from bai_wizard.locale import N_, tr
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, wizard
from bai_wizard.ui.tui.widgets.actions import Actions, Keys
from bai_wizard.ui.tui.widgets.findings import RESULTS, Findings, details
from bai_wizard.ui.tui.widgets.list_box import ListBox

if TYPE_CHECKING:
    from bai_wizard.doctor.search import Candidate
    from bai_wizard.ui.tui.app import WizardApp

# A command in the guidance of a finding.
COMMAND = re.compile(r"`([^`]+)`")


def commands_of(finding: Finding) -> list[str]:
    """The commands in the guidance: texts in backticks with more than one word."""
    return [command for command in COMMAND.findall(finding.guidance) if " " in command]


def copy_commands(app: WizardApp, finding: Finding | None) -> None:
    """Copy the commands of the guidance to the clipboard of the terminal (OSC 52)."""
    commands = commands_of(finding) if finding is not None else []
    if not commands:
        app.tell(tr("This finding has no command to copy."))
        return
    app.copy_to_clipboard("\n".join(commands))
    app.tell(tr("Copied (needs OSC 52): {commands}", commands="; ".join(commands)))


def review_fixes(app: WizardApp, findings: Sequence[Finding]) -> None:
    """Plan the fixes of these findings together and show them for review."""
    from bai_wizard.doctor.drift import plan_steps, remedy_steps
    from bai_wizard.ui.tui.screens.review import ReviewScreen

    session, host, steps = app.session, app.plan_model.draft.host, remedy_steps(findings)
    fix = ",".join(dict.fromkeys(finding.id for finding in findings))
    desired = replace(app.plan_model.draft.desired(), fix=fix)
    app.show(ReviewScreen(desired, lambda: plan_steps(steps, session.foreseen(), host)))


class FindingScreen(WizardScreen[None]):
    """Evidence, cause, what to do. A fix goes to the review like any other change."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "Copy the command", id="finding.copy")]
    HELP = "doctor"

    def __init__(self, finding: Finding, story: Story | None = None) -> None:
        super().__init__()
        self.finding = finding
        self._story = story

    def compose(self) -> ComposeResult:
        yield Static(tr("Troubleshoot"), classes="title")
        with VerticalScroll(id="finding-body"):
            yield Static(id="finding-text")
        remedy = tr("Show fix") if self.finding.remedy else ""
        copy = tr("Copy the command") if commands_of(self.finding) else ""
        yield Actions({"remedy": remedy, "copy": copy, "no": tr("Back")})
        yield Keys((("Enter", N_("Select")), ("c", N_("Copy the command")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        self.query_one(Actions).focus()
        self.on_resize()

    def on_resize(self) -> None:
        """Wrap the text to the available width."""
        for text in self.query("#finding-text").results(Static):
            text.update(details(self.finding, self.app.size.width - 4, self._story))

    def action_copy(self) -> None:
        copy_commands(wizard(self), self.finding)

    def action_remedy(self) -> None:
        """Plan the fix and show it for review."""
        review_fixes(wizard(self), [self.finding])


class SearchScreen(WizardScreen[None]):
    """Candidates confirmed by a probe come first; their findings and fixes can be opened."""

    HELP = "doctor"
    NEEDS = ("#search-text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        yield Static(tr("Search by error message"), classes="title")
        with VerticalScroll(id="search-body"):
            yield Findings()
            yield Static(tr("checking…"), id="search-text")
        yield Keys(((N_("arrows"), N_("Scroll")), ("Enter", N_("Open")), ("Esc", N_("Back"))))

    def begin(self) -> None:
        app, text = wizard(self), self.text

        def search() -> tuple[Candidate, ...]:
            from bai_wizard.doctor.run import known_checks
            from bai_wizard.doctor.search import search

            return search(text, app.session.machine, app.plan_model.draft.desired_to_probe().context, known_checks())

        self.query_one(Findings).display = False
        self.query_one("#search-body").focus()
        run_in_thread(self.app, search, self._searched, self._failed)

    def _failed(self, error: Exception) -> None:
        self.query_one("#search-text", Static).update(reason_of(error))

    def _searched(self, candidates: tuple[Candidate, ...]) -> None:
        if bad := _bad(candidates):
            findings = self.query_one(Findings)
            findings.show(bad, "")
            findings.display = True
            findings.focus()
        nothing = Content(tr("No known error matches this message. Try a longer part of the log."))
        text = Content("\n\n").join([_candidate(each) for each in candidates] or [nothing])
        self.query_one("#search-text", Static).update(text)

    @on(ListBox.Selected, "Findings")
    def action_open(self) -> None:
        finding = self.query_one(Findings).at_cursor()
        if finding is not None:
            wizard(self).show(FindingScreen(finding))


def _bad(candidates: tuple[Candidate, ...]) -> list[Finding]:
    """The problems that the probes found, without duplicates, the most likely first."""
    findings = [
        finding for each in candidates for finding in each.findings if finding.result in ("problem", "warning")
    ]
    return list(dict.fromkeys(findings))


def _candidate(each: Candidate) -> Content:
    from bai_wizard.doctor.search import STATE_WORDS

    failure = each.failure
    lines = [
        Content.styled(
            f"{tr(STATE_WORDS[each.state])}: {tr(failure.title)}", "dim" if each.state == "excluded" else "bold"
        )
    ]
    if each.state != "excluded":
        messages = ((tr("Cause"), failure.cause), (tr("What to do"), failure.remedy), (tr("Risk"), failure.risk))
        lines += [Content(f"  {label}: {tr(redact(text))}") for label, text in messages if text]
        lines += [Content(f"  {tr(RESULTS[finding.result][0])}: {tr(finding.title)}") for finding in each.findings]
    return Content("\n").join(lines)
