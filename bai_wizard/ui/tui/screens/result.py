"""The result of a run: what was applied, what is pending, what failed and why, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.ui import present
from bai_wizard.ui.plans import reason_of
from bai_wizard.ui.progress import LogLine, RunProgress, likely_cause, next_commands
from bai_wizard.ui.tui.base import Static, WizardScreen, run_in_thread, while_mounted, wizard
from bai_wizard.ui.tui.screens.dialogs import Answers
from bai_wizard.ui.tui.widgets.actions import Keys
from bai_wizard.ui.tui.widgets.findings import RESULTS
from bai_wizard.ui.tui.widgets.list_box import inset

if TYPE_CHECKING:
    from bai_wizard.doctor.run import Verdict

# Parts that become known some time after the run has ended.
LATER = ("end-open", "end-next", "end-verdict")
# Lines of the log that the failure screen shows.
LAST = 8


class ResultScreen(WizardScreen[str]):
    """Returns the key of the chosen action; Esc returns to the pages."""

    HELP = "end"
    NEEDS = ("#answers", *(f"#{name}" for name in LATER))

    def __init__(
        self,
        progress: RunProgress,
        lines: list[LogLine],
        look_again: Callable[[], Verdict | None] | None = None,
        *,
        is_fix: bool = False,
    ) -> None:
        """`look_again` repeats the check whose fix this run was, None if it was not a fix; it takes seconds."""
        super().__init__()
        self._is_fix = is_fix
        self.progress = progress
        self._lines = lines
        self._look_again = look_again

    def compose(self) -> ComposeResult:
        yield Static(headline(self.progress), classes="title")
        with VerticalScroll(id="end-body"):
            yield Static(
                result_text(
                    self.progress, self._lines, self.app.size.width - 4, has_commands=not wizard(self).session.demo
                )
            )
            for name in LATER:
                later = Static(id=name)
                later.display = False
                yield later
        yield Answers(what_now(self.progress, may_reboot=self._may_reboot(), is_fix=self._is_fix))
        yield Keys((("Enter", N_("Select")), ("Tab", N_("Scroll")), ("Esc", N_("Pages"))))

    def on_resize(self) -> None:
        """Keep the actions visible; the text above them scrolls."""
        for answers in self.query(Answers):
            room = self.app.size.height - len(answers.lines()) - 2
            self.query_one("#end-body").styles.max_height = max(3, room)

    @while_mounted
    def _moved(self, _page: str) -> None:
        self._show_open()

    def _show_open(self) -> None:
        """The pending changes of each page on the current node, which is being probed again since the run ended."""
        plan_model = wizard(self).plan_model
        if plan_model.is_busy:
            self._fill("end-open", tr("Still pending: {pages}", pages=tr("checking…")))
            return
        states = [(page, plan_model.status(page)) for page in ORDER]
        still = [
            f"{tr(TITLES[page])} ({state.word})" for page, state in states if state.mood not in ("good", "quiet")
        ]
        text = tr("Still pending: {pages}", pages=", ".join(still)) if still else tr("All pages are up to date.")
        self._fill("end-open", text)

    def _find_next(self) -> None:
        """Find the commands that install Backend.AI itself, if they can work."""
        result = self.progress.result
        if result is None or result.code() not in (ExitCode.OK, ExitCode.OPTIONAL_FAILED):
            return
        machine, context = wizard(self).session.machine, wizard(self).plan_model.draft.desired_to_probe().context
        run_in_thread(self.app, lambda: next_commands(machine, context), self._found_next)

    def _found_next(self, commands: list[str]) -> None:
        lines = [tr("Next, {command}", command=command) for command in commands]
        self._fill("end-next", "\n".join(lines))

    def _fill(self, name: str, text: str) -> None:
        for place in self.query(f"#{name}").results(Static):
            place.display = bool(text)
            place.update(f"{text}\n")

    def _may_reboot(self) -> bool:
        node = wizard(self).plan_model.draft.settings("node")
        return wizard(self).session.machine.is_root and getattr(node, "reboot", "") == "ask"

    def begin(self) -> None:
        self.query_one(Answers).focus()
        self.on_resize()
        if self.progress.kind == "apply":
            wizard(self).plan_model.moved.subscribe(self, self._moved)
            self._show_open()
            self._find_next()
        if self._look_again is not None:
            run_in_thread(self.app, self._look_again, self._checked, lambda error: self._say(reason_of(error)))

    def _checked(self, verdict: Verdict | None) -> None:
        if verdict is not None:
            self._say(verdict_of(verdict))

    def _say(self, text: str) -> None:
        self._fill("end-verdict", tr("Checked again: {result}", result=text))

    def on_list_box_selected(self) -> None:
        self.dismiss(self.query_one(Answers).at_cursor())


def verdict_of(verdict: Verdict) -> str:
    """The findings of the checks after their fixes, the problems that are left first."""
    ids, findings = verdict
    bad = [finding for finding in findings if finding.result != "ok"]
    texts = [
        f"[{finding.id}] {tr(RESULTS[finding.result][0])}: {tr(finding.cause) or tr(finding.title)}"
        for finding in bad
    ]
    fixed = [id for id in ids.split(", ") if id not in {finding.id for finding in bad}]
    if fixed:
        texts.append(ntr("{id} is fixed.", "{id} are fixed.", len(fixed), id=", ".join(fixed)))
    return "; ".join(texts)


def headline(progress: RunProgress) -> str:
    """How the run ended, in one sentence."""
    result = progress.result
    if result is None:
        return tr(progress.refusal) or tr("The run was interrupted (its process ended).")
    return present.result_headline(result, progress.kind)


def result_text(progress: RunProgress, lines: list[LogLine], width: int, *, has_commands: bool = True) -> Content:
    """The text of the result, wrapped to this many cells. `has_commands`: the run can be undone from a shell."""
    result = progress.result
    parts: list[Content] = []
    if result is not None:
        parts.append(Content(tr("Run {run}: {summary}", run=progress.run, summary=present.counts(result))))
        if has_commands and progress.kind == "apply" and result.count("changed"):
            parts.append(Content(tr("To undo it: bai-wizard undo {run}", run=progress.run)))
        parts += applied(progress) if progress.kind == "apply" else []
    for step in progress.failed():
        parts += [
            Content(""),
            Content.styled(tr("Failed: {step}", step=f"{step.id}: {tr(step.describe)}"), "bold $text-error"),
        ]
        parts += map(Content, inset(tr(step.text), width))
        cause = likely_cause(step.text, step.id.partition(".")[0])
        if cause:
            parts += map(Content, inset(tr("Likely cause: {cause}", cause=cause), width))
        messages = [line for line in lines if line.step == step.id][-LAST:]
        parts += [Content.styled(f"    {line}", "dim") for line in messages]
    if result is not None:
        parts += map(Content, present.pending_effects(result))
    if result is None:
        parts.append(Content(tr("To resume: bai-wizard resume {run}", run=progress.run)))
    return Content("\n").join([*parts, Content("")])


def applied(progress: RunProgress) -> list[Content]:
    """The pages that this run applied, and those that it could not."""
    pages: dict[str, bool] = {}
    for step in progress.steps.values():
        page = step.id.partition(".")[0]
        pages[page] = pages.get(page, True) and step.stage in ("changed", "unchanged")

    def titles(ready: bool) -> str:
        return ", ".join(tr(TITLES.get(page, page)) for page, is_ready in pages.items() if is_ready is ready)

    lines = [Content(tr("Applied: {pages}", pages=titles(True)))] if True in pages.values() else []
    if False in pages.values():
        lines.append(Content(tr("Not applied: {pages}", pages=titles(False))))
    return lines


def what_now(progress: RunProgress, *, may_reboot: bool = False, is_fix: bool = False) -> dict[str, str]:
    """The available actions, the most useful first."""
    result = progress.result
    answers: dict[str, str] = {"doctor": tr("Back to Troubleshoot")} if is_fix else {}
    if may_reboot and result is not None and (result.code() == ExitCode.REBOOT or result.waits_for("reboot")):
        answers["reboot"] = tr("Reboot this node")
    failed = progress.failed()
    if progress.kind == "apply" and (result is None or result.code() != ExitCode.OK):
        answers["retry"] = tr("Resume")
        # The run continued past failed optional steps; resuming without them completes it.
        optional = {step.step for step in result.steps if step.optional} if result is not None else set()
        if failed and all(step.id in optional for step in failed):
            answers["skip"] = tr("Resume without: {step}", step=", ".join(tr(step.describe) for step in failed))
    elif progress.kind == "undo" and result is None:
        answers["retry"] = tr("Resume the undo")
    if failed and not is_fix:
        answers["doctor"] = tr("Troubleshoot")
    if result is not None:
        answers["report"] = tr("Save report")
    if progress.kind == "apply":
        answers["undo"] = tr("Undo this run")
    answers["log"] = tr("View log")
    answers["pages"] = tr("Back to the pages")
    answers["quit"] = tr("Quit")
    return answers
