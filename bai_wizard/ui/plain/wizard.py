"""The wizard with line prompts: for serial consoles, screen readers, and terminals that cannot draw a screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bai_wizard.compose import DesiredState, desired_from_json, disruptions, refuse_blocked
from bai_wizard.core.consent import Disruptions, agree, names_of
from bai_wizard.core.errors import PreflightError, WizardError
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Finding
from bai_wizard.core.step import Plan
from bai_wizard.engine.choose import held_by
from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of
from bai_wizard.engine.lock import moment
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER
from bai_wizard.session import Session
from bai_wizard.ui.draft import Draft, Secrets
from bai_wizard.ui.plain.prompt import Back, PageQuestions, Prompt, Quit, TerminalClosed
from bai_wizard.ui.plans import FactCache, Loader, outdated_or, reason_of
from bai_wizard.ui.present import plan_lines, undo_lines
from bai_wizard.ui.saving import Autosave, description_of, missing_answers, path_of, save_text, suggested
from bai_wizard.ui.text.output import Output, watch

if TYPE_CHECKING:
    from bai_wizard.compose import DesiredState
    from bai_wizard.engine.result import Result


class PlainWizard:
    """One session. It exits with the code of the last run, or 0 if there was none."""

    def __init__(
        self,
        session: Session,
        draft: Draft,
        *,
        ascii: bool = False,
        diff: bool = False,
        loader: Loader | None = None,
    ) -> None:
        """`diff`: plans show every line of every change."""
        self.session = session
        self.draft = draft
        self.prompt = Prompt(ascii)
        self._diff = diff
        self.fact_cache = FactCache(session.foreseen, loader) if loader else FactCache(session.foreseen)
        self.secrets = Secrets()
        self._autosave = None if session.demo else Autosave(draft.host)
        # The answers as of the start of the last run, and the pages that it applies.
        self._applied: tuple[str, frozenset[str]] = ("", frozenset())
        self._code = ExitCode.OK

    def run(self) -> ExitCode:
        """Run the dialog until the user quits or the terminal is closed."""
        self.secrets.begin()
        where = self.draft.host + (f" ({tr('demo: {name}', name=self.session.demo)})" if self.session.demo else "")
        self.prompt.say(f"bai-wizard, {where}")
        for text in missing_answers(self.draft) if self.draft.opened else ():
            self.prompt.say(f"! {tr('The answers are incomplete: {what}', what=text)}")
        message = tr("Press Enter to keep the value in brackets. At a menu: ? for help, b to go back, q to quit.")
        self.prompt.say(f"{message} {tr('In a field, type :?, :b or :q.')}")
        try:
            self._talk_until_quit()
        except TerminalClosed:
            if self.draft.is_unsaved:
                self._keep()
        return self._code

    def _talk_until_quit(self) -> None:
        """Raises TerminalClosed."""
        steps = [self._offer, self._attach]
        while True:
            try:
                while steps:
                    steps.pop(0)()
                self._menu()
            except Back:
                continue
            except WizardError as error:
                self.prompt.say(f"! {reason_of(error)}")
            except Quit:
                if self._may_leave():
                    return

    def _may_leave(self) -> bool:
        """Ask first if there are unsaved answers. Raises TerminalClosed."""
        if not self.draft.is_unsaved:
            return True
        self.prompt.say(tr("You have unsaved answers."))
        answers = {"s": tr("Save and quit"), "l": tr("Quit without saving"), "c": tr("Cancel")}
        try:
            answer = self._choice(tr("Quit?"), answers)
            return self._save() if answer == "s" else answer == "l"
        except WizardError as error:
            self.prompt.say(f"! {reason_of(error)}")
            return False
        except Back:
            return False
        except Quit:
            self._keep()
            return True

    def _choice(self, question: str, answers: Mapping[str, str]) -> str:
        """One of the letters. Raises Back, Quit, TerminalClosed."""
        self.prompt.say("  " + "   ".join(f"{key}  {text}" for key, text in answers.items()))
        return self.prompt.ask(question, known=tuple(answers))

    def _keep(self) -> None:
        """Save the draft to disk, except in a demo."""
        if self._autosave is None:
            return
        try:
            self._autosave.save(self.draft.handed_over(), self.draft.changed_pages())
            if self.draft.continues:
                self._autosave.remove(self.draft.continues)
                self.draft.continues = ""
        except WizardError as error:
            self.prompt.say(f"! {tr('Your answers cannot be saved automatically: {reason}', reason=error)}")

    def _saved(self, *, complete: bool) -> None:
        """Note that the answers were saved to a file or applied."""
        self.draft.mark_saved()
        if complete and self._autosave is not None:
            self._autosave.remove()

    def _offer(self) -> None:
        """Offer the drafts left by earlier sessions, newest first.

        Raises Back, Quit, TerminalClosed, PreflightError.
        """
        if self._autosave is None:
            return
        offers, notes = self._autosave.offers()
        for note in notes:
            self.prompt.say(f"! {note}")
        answers = {"c": tr("Continue"), "d": tr("Discard"), "i": tr("Ignore for now")}
        for offer in offers:
            self.prompt.say(description_of(offer))
            answer = self._choice(tr("Continue where you left off?"), answers)
            if answer == "d":
                self._autosave.remove(offer.name)
            elif answer == "c":
                self.draft.take_over(offer.text)
                self.draft.continues = offer.name
                self._keep()
                return

    def _attach(self) -> None:
        result = self.session.open_run()
        if result is None:
            return
        if result.is_running and result.run is not None:
            self.prompt.say(tr("A run is in progress on this node; it is shown here."))
            self._watch(result.run)
        elif result.is_running:
            self.prompt.say(tr("Run {run} is in progress; to watch: sudo bai-wizard attach", run=result.id))
        else:
            self.prompt.say(tr("Run {run} was interrupted; to resume: sudo bai-wizard resume", run=result.id))

    def _menu(self) -> None:
        titles = {str(number): name for number, name in enumerate(ORDER)}
        self.prompt.say("")
        for number, name in titles.items():
            self.prompt.say(f"  {number}  {tr(self.fact_cache.page(name).title):<14} {self._state(name)}")
        actions = {
            "a": tr("apply all"),
            "t": tr("troubleshoot"),
            "s": tr("save answers"),
            "u": tr("run history"),
            "q": tr("quit"),
        }
        self.prompt.say("  " + "   ".join(f"{key}  {text}" for key, text in actions.items()))
        try:
            answer = self.prompt.ask(tr("Choose a page or action:"), known=(*titles, *actions))
            if answer in titles:
                self._page(titles[answer])
            elif answer == "a":
                self._apply(ORDER)
            elif answer == "t":
                troubleshoot(self.prompt, self.session, self.draft, self._execute)
            elif answer == "s":
                self._save()
            elif answer == "u":
                self._runs()
        except Back:
            return
        except WizardError as error:
            self.prompt.say(f"! {reason_of(error)}")

    def _state(self, name: str) -> str:
        if name in self.draft.skipped:
            return tr("skipped")
        return tr("ready") if self.draft.is_valid(name) else tr("needs input")

    def _page(self, name: str) -> None:
        page = self.fact_cache.page(name)
        self.prompt.say(f"\n{tr(page.title)}: {tr(page.summary)}")
        self.prompt.say(tr("Current state"))
        self.fact_cache.probe(name, self.draft.desired_to_probe())
        for what, value in self.fact_cache.now(name):
            self.prompt.say(f"  {tr(what)}: {value}")
        choices = {"c": tr("change settings"), "p": tr("show planned changes"), "a": tr("apply this page")}
        choices["k"] = tr("include this page") if name in self.draft.skipped else tr("skip this page")
        while True:
            self.prompt.say("  " + "   ".join(f"{key}  {text}" for key, text in choices.items()))
            answer = self.prompt.ask(tr("Action:"), known=tuple(choices))
            if answer == "c":
                PageQuestions(self.prompt, self.draft, self.secrets, self._keep).ask(name)
            elif answer == "p":
                self._show((name,))
            elif answer == "a":
                self._apply((name,))
                return
            elif answer == "k":
                self.draft.skipped ^= {name}
                self._keep()
                return

    def _plan(self, pages: tuple[str, ...]) -> Plan | None:
        wrong = [name for name in pages if name not in self.draft.skipped and not self.draft.is_valid(name)]
        for name in wrong:
            self.prompt.say(
                tr("{page} is not included: its settings are incomplete.", page=tr(self.fact_cache.page(name).title))
            )
        desired = self.draft.desired([name for name in pages if name not in self.draft.skipped])
        if not desired.pages:
            return None
        self.prompt.say(tr("planning…"))
        return self.fact_cache.fresh_plan(desired)

    def _show(self, pages: tuple[str, ...]) -> None:
        plan = self._plan(pages)
        if plan is not None:
            self.prompt.say("\n".join(plan_lines(plan, diff=self._diff)))

    def _apply(self, pages: tuple[str, ...]) -> None:
        desired = self.draft.desired([name for name in pages if name not in self.draft.skipped])
        self._execute(lambda: self._plan(pages), desired)

    def _execute(self, planner: Callable[[], Plan | None], desired: DesiredState) -> bool:
        """Plan, show the plan, ask, and watch its run until it ends; False if no run was started."""
        planned_at = self.session.planned_at()
        plan = planner()
        if plan is None:
            return False
        for text in self.session.to_recover():
            self.prompt.say(tr("Recovered first: {what}", what=text))
        self.prompt.say("\n".join(plan_lines(plan, diff=self._diff)))
        refuse_blocked(plan)
        if plan.is_empty():
            return False
        if not self.session.machine.is_root:
            self.prompt.say(tr("This needs root: save the answers, then start again with sudo."))
            return False
        seen = moment()
        shown = disruptions(self.session.machine, plan)
        if not self._may_disrupt(shown) or not self.prompt.sure(tr("Apply these changes?")):
            return False
        try:
            run = self.session.begin(plan, desired, agree(shown, shown, seen), planned_at)
        except PreflightError as error:
            self.prompt.say(f"! {outdated_or(error)}")
            return False
        self._applied = ("" if desired.fix else self.draft.handed_over(), frozenset(desired.pages))
        self._watch(run)
        return True

    def _watch(self, run: RunDirectory) -> None:
        self.prompt.say(tr("Run {run} has started; it continues if this terminal is closed.", run=run.id))
        self._code, result = watch(self.session, run, Output())
        entered, pages = self._applied
        self._applied = ("", frozenset())
        is_done = run.kind == "apply" and self._code == ExitCode.OK and entered == self.draft.handed_over()
        if is_done and self.draft.changed_pages() <= pages:
            self._saved(complete=True)
        if result is not None and self.prompt.sure(tr("Save a report?")):
            path = self._file(f"{run.id}.md")
            if path is not None:
                self.prompt.say(
                    save_text(path, self.session.report(run.id, result, desired_from_json(run.settings())))
                )
        self._offer_reboot(result)
        failed = [step for step in result.steps if step.outcome == "failed"] if result else []
        if failed and run.kind == "apply" and self.prompt.sure(tr("Undo this run?")):
            self._undo(run)

    def _offer_reboot(self, result: Result | None) -> None:
        node = self.draft.settings("node")
        waits = result is not None and (result.code() == ExitCode.REBOOT or result.waits_for("reboot"))
        if waits and self.session.machine.is_root and getattr(node, "reboot", "") == "ask":
            self.prompt.say(
                tr("This stops everything that runs on this node. Afterwards, start bai-wizard or bai-wizard resume.")
            )
            if self.prompt.sure(tr("Reboot this node now")):
                self.session.reboot()

    def _save(self) -> bool:
        """Whether the answers were saved. Raises PreflightError, Back, Quit, TerminalClosed."""
        from bai_wizard.answers.save import render

        path = self._file(self.draft.opened or "answers.toml")
        if path is None:
            return False
        self.prompt.say(save_text(path, render(self.draft.to_save())))
        left = missing_answers(self.draft)
        for text in left:
            self.prompt.say(f"! {tr('Saved, but still incomplete: {what}', what=text)}")
        self._saved(complete=not left)
        return True

    def _file(self, name: str) -> Path | None:
        """Ask for a file name; None if nothing can be written there."""
        try:
            return path_of(self.prompt.ask(tr("File name:"), default=suggested(name)))
        except PreflightError as error:
            self.prompt.say(f"! {reason_of(error)}")
            return None

    def _runs(self) -> None:
        runs = all_runs(self.session.paths)
        if not runs:
            self.prompt.say(tr("No runs on this node yet."))
            return
        shown = {str(number): run for number, run in enumerate(reversed(runs), 1)}
        for number, run in shown.items():
            if damage := damage_of(run):
                self.prompt.say(f"  {number}  {run.id}  {tr('damaged')}  {tr(damage)}")
                continue
            result = run.result()
            code = result["code"] if result else tr("interrupted")
            self.prompt.say(f"  {number}  {run.id}  {tr(run.kind)}  {code}")
        run = shown[self.prompt.ask(tr("Which run?"), known=tuple(shown))]
        if run.kind == "apply" and self.prompt.sure(tr("Undo this run?")):
            self._undo(run)

    def _undo(self, run: RunDirectory) -> None:
        planned_at = self.session.planned_at()
        seen = moment()
        wanted = self.session.plan_undo(run)
        self.prompt.say("\n".join(undo_lines(run.id, wanted, held_by(run), diff=self._diff)))
        if wanted.changes and self._may_disrupt(wanted.disruptions) and self.prompt.sure(tr("Undo all of this?")):
            self._watch(self.session.begin_undo(run, agree(wanted.disruptions, wanted.disruptions, seen), planned_at))

    def _may_disrupt(self, disruptions: Disruptions) -> bool:
        """Ask whether all of that may be interrupted."""
        return all(
            self.prompt.sure(tr("{what} would interrupt {names}. Allow it?", what=what, names=names_of(names)))
            for what, names in disruptions.items()
        )


# Plans, shows the plan, asks, and runs it until it ends; returns False if it was not started.
CarryOut = Callable[[Callable[[], Plan], DesiredState], bool]


def troubleshoot(prompt: Prompt, session: Session, draft: Draft, execute: CarryOut) -> None:
    """Ask for the symptom, show the findings and offer fixes, until the user goes back.

    Raises Back, TerminalClosed, WizardError.
    """
    machine = session.machine
    while True:
        prompt.say(tr("Checks are read-only: they change nothing."))
        prompt.say(tr('Paste the error message. End with a single "." on its own line.'))
        seen = prompt.ask_lines(tr("An empty first line runs all checks:"))
        desired = draft.desired_to_probe()
        ignored = draft.value("doctor", ("ignore",)) or {}
        prompt.say(tr("checking…"))
        findings = (
            _by_text(prompt, machine, desired, seen) if seen else _everything(prompt, machine, desired, ignored)
        )
        mendable = [each for each in findings if not each.ignored and not _remedy(each, machine).is_empty()]
        if not mendable:
            continue
        prompt.say(tr("Fixes are available for:"))
        shown = {str(number): finding for number, finding in enumerate(mendable, 1)}
        for number, finding in shown.items():
            prompt.say(f"  {number}  {tr(finding.title)}")
        chosen = shown[prompt.ask(tr("Number of the fix (b to go back):"), known=tuple(shown))]
        if execute(partial(_remedy_over, chosen, session), replace(draft.desired(), fix=chosen.id)):
            _ask_again(prompt, machine, chosen, desired)


def _everything(
    prompt: Prompt, machine: Machine, desired: DesiredState, ignored: Mapping[str, str]
) -> Sequence[Finding]:
    from bai_wizard.doctor.report import report_lines
    from bai_wizard.doctor.run import all_checks, examine

    findings = examine(all_checks(), machine, desired.context, ignored)
    prompt.say("\n".join(map(tr, report_lines(machine.host, findings, lambda finding: _remedy(finding, machine)))))
    return findings


def _by_text(prompt: Prompt, machine: Machine, desired: DesiredState, seen: str) -> Sequence[Finding]:
    """The problems found by the probes that distinguish between failures with such a text, each once."""
    from bai_wizard.doctor.run import BAD_RESULTS, known_checks
    from bai_wizard.doctor.search import candidate_lines, search

    candidates = search(seen, machine, desired.context, known_checks())
    prompt.say("\n".join(map(tr, candidate_lines(candidates, lambda finding: _remedy(finding, machine)))))
    wrong = (finding for each in candidates for finding in each.findings if finding.result in BAD_RESULTS)
    return tuple({finding.id: finding for finding in wrong}.values())


def _ask_again(prompt: Prompt, machine: Machine, chosen: Finding, desired: DesiredState) -> None:
    from bai_wizard.doctor.run import bad_findings, known_checks

    checks = [check for check in known_checks() if check.id == chosen.id]
    if bad_findings(checks, machine, desired.context):
        prompt.say("! " + tr("Checked again: not fixed: {title}", title=chosen.title))
    else:
        prompt.say(tr("Checked again: fixed: {title}", title=chosen.title))


def _remedy_over(finding: Finding, session: Session) -> Plan:
    return _remedy(finding, session.foreseen())


def _remedy(finding: Finding, machine: Machine) -> Plan:
    from bai_wizard.doctor.drift import plan_steps

    return plan_steps(finding.remedy, machine, machine.host)
