"""The wizard by line prompts: for serial consoles, screen readers, and terminals that cannot draw a screen.

The same draft, survey, engine and validation as the full screen; only the talking differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bai_wizard.core.errors import LockHeld, WizardError
from bai_wizard.core.plan import Plan
from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.engine.run.undo import plan_undo
from bai_wizard.exits import ExitCode
from bai_wizard.headless.lines import Back, Gone, Talk
from bai_wizard.headless.questions import PageQuestions
from bai_wizard.headless.text import Text, plan_lines
from bai_wizard.headless.watch import watch
from bai_wizard.pages import ORDER
from bai_wizard.texts import tr
from bai_wizard.wizard.desk import Desk
from bai_wizard.wizard.draft import Draft
from bai_wizard.wizard.saving import refuse_path, save_text
from bai_wizard.wizard.secrets import Secrets
from bai_wizard.wizard.survey import Loader, Survey, reason_of

if TYPE_CHECKING:
    from bai_wizard.compose import Wish
    from bai_wizard.engine.run.result import Result


class Conversation:
    """One sitting. It ends with the code of the last run, 0 when there was none."""

    def __init__(self, desk: Desk, draft: Draft, *, ascii: bool = False, loader: Loader | None = None) -> None:
        self.desk = desk
        self.draft = draft
        self.talk = Talk(ascii)
        self.survey = Survey(desk.machine, loader) if loader else Survey(desk.machine)
        self.secrets = Secrets()
        self._code = ExitCode.OK

    def run(self) -> ExitCode:
        """Talks until somebody quits or nobody is there any more."""
        self.secrets.begin()
        where = self.draft.host + (f" ({tr('demo: {name}', name=self.desk.demo)})" if self.desk.demo else "")
        self.talk.say(f"bai-wizard, {where}")
        self.talk.say(tr("Empty keeps what stands in brackets, ? explains, b goes back, q quits."))
        try:
            self._attach()
            while True:
                self._menu()
        except Gone:
            return self._code

    def _attach(self) -> None:
        run = self.desk.running()
        if run is not None:
            self.talk.say(tr("A run is in progress on this node; this is it."))
            self._watch(run)

    def _menu(self) -> None:
        titles = {str(number): name for number, name in enumerate(ORDER)}
        self.talk.say("")
        for number, name in titles.items():
            self.talk.say(f"  {number}  {tr(self.survey.page(name).title):<14} {self._state(name)}")
        actions = {
            "a": tr("apply all"),
            "t": tr("troubleshoot"),
            "s": tr("save answers"),
            "u": tr("past runs"),
            "q": tr("quit"),
        }
        self.talk.say("  " + "   ".join(f"{key}  {text}" for key, text in actions.items()))
        try:
            answer = self.talk.ask(tr("Which page, or what?"), known=(*titles, *actions))
            if answer in titles:
                self._page(titles[answer])
            elif answer == "a":
                self._apply(ORDER)
            elif answer == "t":
                self._troubleshoot()
            elif answer == "s":
                self._save()
            elif answer == "u":
                self._runs()
        except Back:
            return
        except WizardError as error:
            self.talk.say(f"! {reason_of(error)}")

    def _state(self, name: str) -> str:
        if name in self.draft.skipped:
            return tr("skipped")
        return tr("ready to plan") if self.draft.is_valid(name) else tr("needs input")

    def _page(self, name: str) -> None:
        page = self.survey.page(name)
        self.talk.say(f"\n{tr(page.title)}: {tr(page.summary)}")
        self.talk.say(tr("Now"))
        self.survey.look(name, self.draft.wish_to_look())
        for what, value in self.survey.now(name):
            self.talk.say(f"  {tr(what)}: {value}")
        choices = {"c": tr("change what is wanted"), "p": tr("show what will change"), "a": tr("apply this page")}
        choices["k"] = tr("do not skip this page") if name in self.draft.skipped else tr("skip this page")
        while True:
            self.talk.say("  " + "   ".join(f"{key}  {text}" for key, text in choices.items()))
            answer = self.talk.ask(tr("What?"), known=tuple(choices))
            if answer == "c":
                PageQuestions(self.talk, self.draft, self.secrets).ask(name)
            elif answer == "p":
                self._show((name,))
            elif answer == "a":
                self._apply((name,))
                return
            elif answer == "k":
                self.draft.skipped ^= {name}
                return

    def _plan(self, pages: tuple[str, ...]) -> Plan | None:
        wrong = [name for name in pages if name not in self.draft.skipped and not self.draft.is_valid(name)]
        for name in wrong:
            self.talk.say(
                tr("{page} is left out: its answers are not complete.", page=tr(self.survey.page(name).title))
            )
        wish = self.draft.wish([name for name in pages if name not in self.draft.skipped])
        if not wish.pages:
            return None
        self.talk.say(tr("planning…"))
        return self.survey.fresh_plan(wish)

    def _show(self, pages: tuple[str, ...]) -> None:
        plan = self._plan(pages)
        if plan is not None:
            self.talk.say("\n".join(plan_lines(plan)))

    def _apply(self, pages: tuple[str, ...]) -> None:
        plan = self._plan(pages)
        if plan is not None:
            self._carry_out(plan, self.draft.wish([name for name in pages if name not in self.draft.skipped]))

    def _carry_out(self, plan: Plan, wish: Wish) -> bool:
        """Shows a plan, asks, and watches its run to its end; False when none was begun."""
        from bai_wizard.compose import refuse_blocked, unconsented

        self.talk.say("\n".join(plan_lines(plan)))
        refuse_blocked(plan)
        if plan.is_empty():
            return False
        if not self.desk.machine.is_root:
            self.talk.say(tr("This needs root: save the answers, then start again with sudo."))
            return False
        hits = unconsented(self.desk.machine, plan, ())
        if not self._may_hit(hits) or not self.talk.sure(tr("Do this now?")):
            return False
        try:
            run = self.desk.begin(plan, wish, hits)
        except LockHeld as error:
            self.talk.say(f"! {error}")
            return False
        self._watch(run)
        return True

    def _troubleshoot(self) -> None:
        from bai_wizard.headless.troubleshoot import troubleshoot

        troubleshoot(self.talk, self.desk.machine, self.draft, self._carry_out)

    def _watch(self, run: RunDirectory) -> None:
        self.talk.say(tr("Run {run} has begun; it goes on without this terminal.", run=run.id))
        self._code, result = watch(self.desk.places, run, Text(), stop=not self.desk.demo)
        if result is not None and self.talk.sure(tr("Save a report?")):
            path = self._file(f"{run.id}.md")
            if path is not None:
                self.talk.say(save_text(path, self.desk.report(run.id, result, self.draft.wish())))
        self._offer_reboot(result)
        failed = [step for step in result.steps if step.outcome == "failed"] if result else []
        if failed and run.kind == "apply" and self.talk.sure(tr("Take this run back?")):
            self._undo(run)

    def _offer_reboot(self, result: Result | None) -> None:
        node = self.draft.settings("node")
        waits = result is not None and (result.code() == ExitCode.REBOOT or result.waits_for("reboot"))
        if waits and self.desk.machine.is_root and getattr(node, "reboot", "") == "ask":
            self.talk.say(tr("Everything that runs on this node ends. Afterwards: bai-wizard, or bai-wizard resume."))
            if self.talk.sure(tr("Reboot this node now")):
                self.desk.reboot()

    def _save(self) -> None:
        from bai_wizard.answers.save import render

        path = self._file("answers.toml")
        if path is not None:
            self.talk.say(save_text(path, render(self.draft.to_save())))

    def _file(self, name: str) -> Path | None:
        """Asks where to write; None where nothing can be written there."""
        path = self.talk.ask(tr("As which file?"), default=str(Path.cwd() / name))
        refusal = refuse_path(path)
        if refusal:
            self.talk.say(f"! {refusal}")
        return None if refusal else Path(path).expanduser()

    def _runs(self) -> None:
        runs = all_runs(self.desk.places)
        if not runs:
            self.talk.say(tr("There is no run on this node yet."))
            return
        shown = {str(number): run for number, run in enumerate(reversed(runs), 1)}
        for number, run in shown.items():
            result = run.result()
            code = result["code"] if result else tr("no end")
            self.talk.say(f"  {number}  {run.id}  {run.kind}  {code}")
        run = shown[self.talk.ask(tr("Which run?"), known=tuple(shown))]
        if run.kind == "apply" and self.talk.sure(tr("Take it back?")):
            self._undo(run)

    def _undo(self, run: RunDirectory) -> None:
        self.desk.settle(run)
        wanted = plan_undo(run, self.desk.machine)
        for step, change in wanted.changes:
            self.talk.say(f"  {step}: {change.headline()}")
        for text in (*wanted.conflicts, *wanted.lasting):
            self.talk.say(f"  {tr('stays')}: {text}")
        if wanted.changes and self._may_hit(wanted.hits) and self.talk.sure(tr("Take all of this back?")):
            self._watch(self.desk.begin_undo(run, wanted.hits))

    def _may_hit(self, hits: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether all of that may be interrupted."""
        return all(
            self.talk.sure(tr("{what} would hit {names}. Allow it?", what=what, names=", ".join(names)))
            for what, names in hits.items()
        )
