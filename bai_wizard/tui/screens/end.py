"""How a run ended: what is ready, what waits, what failed and why, and what to do now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from bai_wizard.exits import ExitCode
from bai_wizard.pages import TITLES
from bai_wizard.texts import tr
from bai_wizard.tui.background import Outcome, behind
from bai_wizard.tui.screens.ask import Answers
from bai_wizard.tui.screens.base import WizardScreen
from bai_wizard.tui.widgets.base import wizard
from bai_wizard.tui.widgets.findings import WORDS
from bai_wizard.tui.widgets.keys import Keys
from bai_wizard.tui.widgets.walk import Walk, inset
from bai_wizard.wizard.following import following
from bai_wizard.wizard.picture import LogLine, Picture
from bai_wizard.wizard.survey import reason_of
from bai_wizard.wizard.symptoms import likely_cause

if TYPE_CHECKING:
    from bai_wizard.doctor.fix import Verdict

# Lines of the log that the failure screen shows.
LAST = 8


class EndScreen(WizardScreen[str]):
    """Returns the key of what was chosen; Esc goes back to the pages."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "Pages", id="end.back")]
    HELP = "end"
    NEEDS = ("#answers",)

    def __init__(
        self, picture: Picture, lines: list[LogLine], look_again: Callable[[], Verdict | None] | None = None
    ) -> None:
        """`look_again` asks the check whose remedy this run was, None where it was none; it takes seconds."""
        super().__init__()
        self.picture = picture
        self._lines = lines
        self._look_again = look_again

    def compose(self) -> ComposeResult:
        yield Static(headline(self.picture), markup=False, classes="title")
        with VerticalScroll(id="end-body"):
            yield Static(told(self.picture, self._lines, self.app.size.width - 4), markup=False)
            yield Static("\n".join(self._following()), markup=False)
            yield Static(markup=False, id="end-verdict")
        yield Answers(what_now(self.picture, may_reboot=self._may_reboot()))
        yield Keys((("Enter", "Do it"), ("Tab", "Read on above"), ("Esc", "Pages")))

    def on_resize(self) -> None:
        """What can be done stays in sight; what there is to read scrolls above it."""
        for answers in self.query(Answers):
            room = self.app.size.height - len(answers.lines()) - 2
            self.query_one("#end-body").styles.max_height = max(3, room)

    def _following(self) -> list[str]:
        """What Backend.AI's own installation begins with, when nothing of this one is left to do."""
        node, result = wizard(self).surveyor.draft.settings("node"), self.picture.result
        is_done = result is not None and result.code() in (ExitCode.OK, ExitCode.OPTIONAL_FAILED)
        if node is None or not is_done or self.picture.kind != "apply":
            return []
        commands = following(getattr(node, "roles", ()), getattr(node, "backend_ai", ""))
        return [tr("Next, {command}", command=command) for command in commands] + [""]

    def _may_reboot(self) -> bool:
        node = wizard(self).surveyor.draft.settings("node")
        return wizard(self).desk.machine.is_root and getattr(node, "reboot", "") == "ask"

    def begin(self) -> None:
        self.query_one(Answers).focus()
        self.on_resize()
        if self._look_again is not None:
            behind(self.app, self._look_again, self._looked)

    def _looked(self, outcome: Outcome[Verdict | None]) -> None:
        if outcome.error is not None:
            self._say(reason_of(outcome.error))
        elif (verdict := outcome.get()) is not None:
            self._say(verdict_of(verdict))

    def _say(self, text: str) -> None:
        self.query_one("#end-verdict", Static).update(tr("Checked again: {result}", result=text) + "\n")

    def on_walk_taken(self, event: Walk.Taken) -> None:
        self.dismiss(list(self.query_one(Answers).answers)[event.at])

    def action_no(self) -> None:
        """Back to the pages."""
        self.dismiss("pages")

    @property
    def host(self) -> str:
        """The node's name."""
        return wizard(self).surveyor.draft.host


def verdict_of(verdict: Verdict) -> str:
    """What the check says after its fix, in a line."""
    id, findings = verdict
    bad = [finding for finding in findings if finding.result != "ok"]
    if not bad:
        return tr("{id} is well now.", id=id)
    return "; ".join(f"[{id}] {tr(WORDS[finding.result][0])}: {finding.cause or finding.title}" for finding in bad)


def headline(picture: Picture) -> str:
    """How it ended, in a sentence."""
    result = picture.result
    if result is None:
        return picture.refusal or tr("The run was cut: its executor is gone.")
    if picture.kind == "undo":
        return tr("Taken back.") if result.code() == ExitCode.OK else tr("Taken back, but not all of it.")
    return {
        ExitCode.OK: tr("Done: everything that was asked for is in effect."),
        ExitCode.FAILED: tr("A step failed. What was done before it stays, and is listed."),
        ExitCode.REBOOT: tr("A reboot is needed before the rest can be done."),
        ExitCode.OPTIONAL_FAILED: tr("Done, but optional steps failed."),
        ExitCode.INTERRUPTED: tr("Stopped, as was asked. The rest was not begun."),
    }.get(result.code(), tr("The run ended with code {code}.", code=int(result.code())))


def told(picture: Picture, lines: list[LogLine], width: int) -> Content:
    """What there is to say about it, in lines of so many cells."""
    result = picture.result
    parts: list[Content] = []
    if result is not None:
        counts = [
            tr("{count} changed", count=result.count("changed")),
            tr("{count} unchanged", count=result.count("unchanged")),
            tr("{count} skipped", count=result.count("skipped")),
            tr("{count} failed", count=result.count("failed")),
        ]
        parts.append(Content(", ".join(counts)))
        parts += ready(picture) if picture.kind == "apply" else []
    for step in picture.failed():
        parts += [
            Content(""),
            Content.styled(tr("Failed: {step}", step=f"{step.id}: {step.describe}"), "bold $text-error"),
        ]
        parts += map(Content, inset(step.text, width))
        cause = likely_cause(step.text, step.id.partition(".")[0])
        if cause:
            parts += map(Content, inset(tr("Likely cause: {cause}", cause=cause), width))
        said = [line for line in lines if line.step == step.id][-LAST:]
        parts += [Content.styled(f"    {line}", "dim") for line in said]
    if result is not None:
        login, reboot = result.waits_for("next-login"), result.waits_for("reboot")
        if login:
            parts.append(Content(tr("In effect at the next login: {steps}", steps=", ".join(s.step for s in login))))
        if reboot:
            parts.append(Content(tr("In effect after a reboot: {steps}", steps=", ".join(s.step for s in reboot))))
        parts += [Content(tr("Not taken back by undo: {what}", what=what)) for what in result.lasting]
    if result is None:
        parts.append(Content(tr("Continue it with: bai-wizard resume {run}", run=picture.run)))
    return Content("\n").join([*parts, Content("")])


def ready(picture: Picture) -> list[Content]:
    """Which pages are as they were wanted, and which are not."""
    pages: dict[str, bool] = {}
    for step in picture.steps.values():
        page = step.id.partition(".")[0]
        pages[page] = pages.get(page, True) and step.stage in ("changed", "unchanged")

    def titles(wanted: bool) -> str:
        return ", ".join(tr(TITLES.get(page, page)) for page, is_ready in pages.items() if is_ready is wanted)

    told = [Content(tr("Ready: {pages}", pages=titles(True)))] if True in pages.values() else []
    if False in pages.values():
        told.append(Content(tr("Not ready: {pages}", pages=titles(False))))
    return told


def what_now(picture: Picture, *, may_reboot: bool = False) -> dict[str, str]:
    """What can be done now, the most useful first."""
    result = picture.result
    answers: dict[str, str] = {}
    if may_reboot and result is not None and (result.code() == ExitCode.REBOOT or result.waits_for("reboot")):
        answers["reboot"] = tr("Reboot this node")
    failed = picture.failed()
    if picture.kind == "apply" and (result is None or result.code() != ExitCode.OK):
        answers["retry"] = tr("Go on: try again from where it stopped")
        # The run went past optional steps that failed; going on without them settles the matter.
        optional = {step.step for step in result.steps if step.optional} if result is not None else set()
        if failed and all(step.id in optional for step in failed):
            answers["skip"] = tr("Leave it out: {step}", step=", ".join(step.id for step in failed))
    elif picture.kind == "undo" and result is None:
        answers["retry"] = tr("Go on with taking back")
    if failed:
        answers["doctor"] = tr("Find out why (troubleshoot)")
    if result is not None:
        answers["report"] = tr("Save a report")
    if picture.kind == "apply":
        answers["undo"] = tr("Take this run back")
    answers["log"] = tr("Look at the log")
    answers["pages"] = tr("Back to the pages")
    answers["quit"] = tr("Quit")
    return answers
