"""Joins answers, pages, engine and machine: what every front end and the executor have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import AnswersError, PreflightError, Problem
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Page, Settings
from bai_wizard.core.plan import Plan
from bai_wizard.core.secret import resolve, use_resolver
from bai_wizard.engine.plan.planner import PageWork, make_plan
from bai_wizard.engine.run.places import Places
from bai_wizard.pages import ORDER, load, settings_of

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.engine.run.directory import RunDirectory


@dataclass(frozen=True)
class Wish:
    """What is wanted of this node: the settings by table, which pages apply, and the context of all of them.

    `fix` names the check whose remedy is wanted instead of the pages' plans.
    """

    settings: Mapping[str, Settings]
    pages: tuple[str, ...]
    context: Context
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `settings.json`: secrets stay references, hashes are kept (the file is 0600, root's)."""
        tables = {
            name: table.model_dump(mode="json", context={"reveal": True}, exclude_defaults=True)
            for name, table in self.settings.items()
        }
        fix = {"fix": self.fix} if self.fix else {}
        demo = {"demo": True} if self.context.demo else {}
        return {"version": 1, "host": self.context.host, "pages": list(self.pages), "tables": tables, **fix, **demo}


def wish_of(answers: Answers, *, only: Collection[str] = (), skip: Collection[str] = ()) -> Wish:
    """The wish of an answers file. Raises AnswersError for a page name that is none."""
    from bai_wizard.answers.context import context

    for name in (*only, *skip):
        if name not in ORDER:
            known = ", ".join(ORDER)
            raise AnswersError([Problem("command line", 0, 0, name, f"no page of that name; there are: {known}")])
    pages = [name for name in ORDER if _applies(name, answers.tables)]
    pages = [name for name in pages if (not only or name in only) and name not in skip]
    return Wish(answers.tables, tuple(pages), context(answers, applied=tuple(pages)))


def use_secrets_of(answers: Answers) -> None:
    """Resolves every secret of the answers without asking anybody. Raises AnswersError with all that have none."""
    from bai_wizard.answers.secrets import resolve_all

    resolved = resolve_all(answers)
    use_resolver(lambda key, _source: resolved.get(key))


def use_secret_sources() -> None:
    """Secrets are looked up when a page asks for them: for settings that come from a run directory."""
    from bai_wizard.answers.secrets import resolve

    use_resolver(resolve)


def wish_from_json(data: Mapping[str, Any]) -> Wish:
    """The wish that `Wish.to_json` wrote."""
    from bai_wizard.answers.context import context
    from bai_wizard.answers.model import Answers

    tables = {name: settings_of(name).model_validate(table) for name, table in data["tables"].items()}
    pages = tuple(data["pages"])
    answers = Answers("settings.json", data["host"], tables)
    return Wish(tables, pages, context(answers, applied=pages, demo=data.get("demo", False)), data.get("fix", ""))


def _applies(page: str, tables: Mapping[str, Settings]) -> bool:
    table = tables.get(table_of(page))
    return table is not None and table.apply


def table_of(page: str) -> str:
    """The table of the answers that makes a page apply."""
    return "network" if page == "node" else page


def works(machine: Machine, wish: Wish) -> list[PageWork]:
    """Each page that applies, probed, in the wizard's order."""
    machine.packages_from = packages_of(wish.context.bundle)
    found = []
    for name in wish.pages:
        page: Page = load(name)
        settings = wish.settings[table_of(name)]
        found.append(PageWork(page, settings, page.probe(machine, settings, wish.context)))
    return found


def packages_of(bundle: str) -> str:
    """Where the packages of a bundle lie; empty without one."""
    return f"{bundle}/packages" if bundle else ""


def plan(machine: Machine, wish: Wish) -> Plan:
    """The plan that brings the wish about on this node as it is now."""
    return make_plan(works(machine, wish), machine, wish.context)


def unconsented(machine: Machine, plan: Plan, consent: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What the plan would interrupt right now without consent: by interrupt, what it would hit."""
    hit: dict[str, tuple[str, ...]] = {}
    for planned in plan.pending():
        for interrupt in planned.step.interrupts:
            if interrupt not in consent and interrupt not in hit:
                affected = machine.affected(interrupt)
                if affected:
                    hit[interrupt] = affected
    return hit


def refuse_blocked(plan: Plan) -> None:
    """Raises PreflightError naming every step that must not be done here."""
    blocked = plan.blocked()
    if blocked:
        told = "\n".join(f"  {item.step.id}: {getattr(item.verdict, 'reason', '')}" for item in blocked)
        raise PreflightError(f"nothing was touched, because:\n{told}")


def begin(places: Places, plan: Plan, wish: Wish, consent: Collection[str] = ()) -> RunDirectory:
    """Makes a run of a confirmed plan and starts its executor. Raises LockHeld, PreflightError."""
    from bai_wizard.engine.launch.unit import start_executor
    from bai_wizard.engine.run.directory import create_run
    from bai_wizard.engine.run.lock import held, is_held

    if is_held(places):
        raise held(places)
    run = create_run(places, plan, wish.to_json(), consent=tuple(consent))
    lend_secrets(places, plan, wish)
    start_executor(run, plan.digest(), places)
    return run


def lend_secrets(places: Places, plan: Plan, wish: Wish) -> None:
    """Puts what the pending steps need in clear on tmpfs, for the executor alone, which removes it at its end."""
    pending = {planned.step.page for planned in plan.pending()}
    sources = {
        name: source
        for page in wish.pages
        if page in pending
        for name, source in load(page).lends(wish.settings[table_of(page)]).items()
    }
    if not sources:
        return
    from bai_wizard.machine.lent import lend

    found = {name: resolve(name, source) for name, source in sources.items()}
    lend(places.root, {name: secret for name, secret in found.items() if secret is not None})


def local_machine(root: str = "/") -> Machine:
    """The node that this process runs on."""
    from bai_wizard.machine.local import LocalMachine

    return LocalMachine(root)


def places(root: str = "/") -> Places:
    """Where this node keeps its runs."""
    return Places(Path(root))
