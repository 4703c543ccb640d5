"""Connect answers, pages, engine and machine: shared by every front end and the executor."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.consent import Affected, Interrupt, affected_by
from bai_wizard.core.debug_log import debug
from bai_wizard.core.errors import AnswersError, PreflightError, Problem, StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.page import Context, Facts, Page, Settings
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.secret import Resolver, resolve, use_resolver
from bai_wizard.core.step import Plan, PlannedStep, depends_on, reason_of
from bai_wizard.engine.durable import MALFORMED, recording
from bai_wizard.engine.lock import StatePaths
from bai_wizard.engine.planner import PageWork, make_plan, plan_page
from bai_wizard.pages import ORDER, load

if TYPE_CHECKING:
    from bai_wizard.answers.model import Answers
    from bai_wizard.engine.directory import RunDirectory
    from bai_wizard.engine.maintenance import Conditions

T = TypeVar("T")


class DesiredState(Struct, frozen=True):
    """The desired state of this node: the settings by table, the pages that apply, and their common context.

    `fix` names the check whose fix is to be applied instead of the pages' plans; several are separated by commas.
    """

    settings: Mapping[str, Settings]
    pages: tuple[str, ...]
    context: Context
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON values for `settings.json`: secrets stay references, hashes are kept (0600, owned by root)."""
        from bai_wizard.pages.fields import dump

        tables = {name: dump(table) for name, table in self.settings.items()}
        fix = {"fix": self.fix} if self.fix else {}
        demo = {"demo": True} if self.context.demo else {}
        return {"version": 1, "host": self.context.host, "pages": list(self.pages), "tables": tables, **fix, **demo}


def desired_from_answers(
    answers: Answers, *, only: Collection[str] = (), skip: Collection[str] = (), demo: bool = False
) -> DesiredState:
    """The desired state from an answers file; `demo`: for a simulated node.

    Raises AnswersError for an unknown page.
    """
    from bai_wizard.answers.model import context

    for name in (*only, *skip):
        if name not in ORDER:
            known = ", ".join(ORDER)
            raise AnswersError([Problem("command line", 0, 0, name, f"unknown page; pages are: {known}")])
    pages = [name for name in ORDER if _applies(name, answers.tables)]
    pages = [name for name in pages if (not only or name in only) and name not in skip]
    return DesiredState(answers.tables, tuple(pages), context(answers, applied=tuple(pages), demo=demo))


def use_secrets_of(answers: Answers) -> None:
    """Resolve every secret of the answers without prompting.

    Raises AnswersError listing all that cannot be resolved.
    """
    from bai_wizard.answers.secrets import resolve_all

    resolved = resolve_all(answers)
    use_resolver(lambda key, _source: resolved.get(key))


def use_secret_sources(look_up: Resolver | None = None) -> None:
    """Resolve secrets when a page asks for them, with `look_up` if given: for the settings of a run directory."""
    from bai_wizard.answers.secrets import resolve

    use_resolver(look_up or resolve)


def desired_from_json(data: Mapping[str, Any]) -> DesiredState:
    """Read what `DesiredState.to_json` wrote. Raises PreflightError for anything else."""
    try:
        return _desired_from_json(data)
    except (*MALFORMED, ValueError) as error:
        raise PreflightError(f"the settings of this run cannot be read by this version: {error}") from error


def _desired_from_json(data: Mapping[str, Any]) -> DesiredState:
    from bai_wizard.answers.model import Answers, context

    tables = {name: _settings_from_json(name, table) for name, table in data["tables"].items()}
    pages = tuple(name for name in ORDER if name in data["pages"])
    if len(pages) != len(data["pages"]) or not all(table_of(name) in tables for name in pages):
        raise ValueError("unknown pages, or pages without settings")
    answers = Answers("settings.json", data["host"], tables)
    return DesiredState(
        tables, pages, context(answers, applied=pages, demo=data.get("demo", False)), data.get("fix", "")
    )


def _settings_from_json(name: str, table: Mapping[str, Any]) -> Settings:
    from bai_wizard.answers.model import dotted
    from bai_wizard.answers.validate import validate

    settings, problems = validate(name, dict(table))
    if settings is None:
        message = "; ".join(f"{dotted(problem.path)} {problem.reason}" for problem in problems)
        raise PreflightError(
            f"this run cannot be resumed: another version accepted its settings, but this one rejects them"
            f" ({message}). Correct the answers and start a new run; undo still works"
        )
    return settings


def _applies(page: str, tables: Mapping[str, Settings]) -> bool:
    table = tables.get(table_of(page))
    return table is not None and table.apply


def table_of(page: str) -> str:
    """The table of the answers that makes a page apply."""
    return "network" if page == "node" else page


def sourced(desired: DesiredState) -> DesiredState:
    """The desired state with the bundle of its [sources], if any, as the source. Reads the disk.

    Raises PreflightError for an unusable bundle.
    """
    if not getattr(desired.settings.get("sources"), "bundle", ""):
        return desired
    from bai_wizard.offline.use_bundle import from_bundle

    return from_bundle(desired)


def sourced_to_probe(desired: DesiredState) -> DesiredState:
    """The same for probing the node: what the bundle lacks is left for the plan to reject."""
    return replace(sourced(replace(desired, pages=())), pages=desired.pages)


def works(machine: Machine, desired: DesiredState) -> Iterator[PageWork]:
    """Each page that applies, in the wizard's order; it is probed when requested."""
    machine.packages_from = packages_of(desired.context.bundle)
    # Before the first probe: processes that read as an account know only the modules that were imported before.
    pages: dict[str, Page] = {name: load(name) for name in desired.pages}
    for name, page in pages.items():
        settings = desired.settings[table_of(name)]
        begun = monotonic()
        facts = page.probe(machine, settings, desired.context)
        debug("page %s: probed in %.3f s", name, monotonic() - begun)
        yield PageWork(page, settings, facts)


def packages_of(bundle: str) -> str:
    """The directory of a bundle's packages; empty without a bundle."""
    return f"{bundle}/packages" if bundle else ""


def plan(machine: Machine, desired: DesiredState) -> Plan:
    """Plan the changes needed to reach the desired state."""
    machine = RememberingMachine(machine)
    with machine.helpers():
        return make_plan(list(works(machine, desired)), machine, desired.context)


def plan_by_page(machine: Machine, desired: DesiredState) -> Iterator[tuple[str, list[PlannedStep]]]:
    """Make the same plan as `plan`, but page by page: each page is probed and planned only when requested."""
    machine = RememberingMachine(machine)
    predicted = PredictedNode(machine)
    for work in works(machine, desired):
        is_last = work.page.name == desired.pages[-1]
        yield work.page.name, plan_page(work, predicted, desired.context, is_last=is_last)


def disruptions(machine: Machine, plan: Plan) -> dict[Interrupt, tuple[Affected, ...]]:
    """What the plan would interrupt right now, by kind of interruption. Raises StateUnknown."""
    wanted = (interrupt for planned in plan.pending() for interrupt in planned.step.interrupts)
    affected = affected_by(machine, wanted)
    if not affected:
        return affected
    from bai_wizard.node.sessions import with_details

    return with_details(machine, affected)


def has_drain_hook(desired: DesiredState) -> bool:
    """Whether runs of this state drain the node before they interrupt something; a fix of the doctor never does."""
    table: Any = desired.settings.get("maintenance")
    return not desired.fix and table is not None and table.apply and bool(table.drain_hook)


def with_notes(plan: Plan, desired: DesiredState, conditions: Conditions | None = None) -> Plan:
    """The plan with notes on the hooks and conditions of its disruptive steps, if it has any."""
    notes: tuple[str, ...] = ()
    has_hook = has_drain_hook(desired)
    if (has_hook or conditions) and any(planned.step.interrupts for planned in plan.pending()):
        from bai_wizard.engine.maintenance import Conditions, Hooks, notes_on

        table: Any = desired.settings.get("maintenance")
        hooks = Hooks(table.drain_hook, table.resume_hook) if has_hook else Hooks()
        notes = (*notes_on(hooks, conditions or Conditions()),)
    return replace(plan, notes=notes)


def conditions_of(run: RunDirectory) -> Conditions | None:
    """When the disruptive steps of a run may run; None without conditions."""
    recorded = run.metadata.get("conditions")
    if recorded is None:
        return None
    from bai_wizard.engine.maintenance import conditions_from_json

    return conditions_from_json(recorded)


def needing_consent(
    disruptions: dict[Interrupt, tuple[Affected, ...]], desired: DesiredState, conditions: Conditions | None
) -> dict[Interrupt, tuple[Affected, ...]]:
    """What has to be agreed to: not the sessions, if the run waits for them to end or drains the node."""
    if not (has_drain_hook(desired) or (conditions and conditions.wait_idle is not None)):
        return disruptions
    others = {what: tuple(item for item in items if item.session is None) for what, items in disruptions.items()}
    return {what: items for what, items in others.items() if items}


def ordered(plan: Plan, machine: Machine, desired: DesiredState, conditions: Conditions | None) -> Plan:
    """The plan with its disruptive steps last, if they may have to wait, and with notes on that."""
    plan = with_notes(plan, desired, conditions)
    if not (conditions or has_drain_hook(desired)):
        return plan
    from bai_wizard.engine.planner import disruptive_last

    return disruptive_last(plan, RememberingMachine(machine))


def refuse_blocked(plan: Plan, *, to_show: bool = False) -> None:
    """Raise PreflightError naming every step that is blocked here or cannot be determined, and how many depend on it.

    `to_show`: the plan is only shown, and not to root, who could read more; so undetermined steps are allowed.
    """
    blocked = plan.refused() if to_show else plan.blocked()
    causes = [item for item in blocked if not depends_on(item)]
    if blocked:
        lines = [f"  {item.step.id}: {reason_of(item)}" for item in causes or blocked]
        others = [item.step.id for item in blocked if item not in causes]
        if causes and others:
            lines.append(f"  not possible without that: {', '.join(others)}")
        raise PreflightError("\n".join(["nothing was changed:", *lines]))


@contextmanager
def runtime_secrets_published(paths: StatePaths, plan: Plan, desired: DesiredState | None) -> Iterator[None]:
    """Publish the secrets that the pending steps need on tmpfs while an executor is started; they are always removed.

    None stands for an undo, which needs no secret; a simulated node does not log in anywhere and gets none.
    """
    from bai_wizard.node.passwords import remove_secrets

    with recording(paths.runtime_secrets, PreflightError, "nothing was changed"):
        remove_secrets(paths.runtime_secrets)  # left by a starter that was killed
    try:
        if desired is not None and not desired.context.demo:
            _publish_secrets(paths, plan, desired)
        yield
    finally:
        remove_secrets(paths.runtime_secrets)


def _publish_secrets(paths: StatePaths, plan: Plan, desired: DesiredState) -> None:
    pending = {planned.step.page for planned in plan.pending()}
    sources = {
        name: source
        for page in desired.pages
        if page in pending
        for name, source in load(page).runtime_secrets(desired.settings[table_of(page)]).items()
    }
    if not sources:
        return
    from bai_wizard.node.passwords import publish

    result = {name: resolve(name, source) for name, source in sources.items()}
    with recording(paths.runtime_secrets, PreflightError, "nothing was changed"):
        publish(paths.runtime_secrets, {name: secret for name, secret in result.items() if secret is not None})


def refuse_untrusted(root: str | Path, desired: DesiredState) -> None:
    """Raise PreflightError if other users can change a file that root relies on, or read a file with a secret.

    Called before planning and again before a run begins. A file that cannot be read is reported by its page.
    """
    if desired.context.demo or os.geteuid() != 0:
        return

    from bai_wizard.node.safe_path import Trust

    trust, prefix = Trust(), str(root).rstrip("/")
    for path, private in trusted_files(desired):
        with suppress(OSError):
            os.close(trust.open(f"{prefix}{path}", private=private))
    maintenance: Any = desired.settings.get("maintenance")
    for hook in (maintenance.drain_hook, maintenance.resume_hook) if maintenance is not None else ():
        with suppress(OSError):
            trust.judge_command(hook, prefix)
    paths = trusted_paths(desired)
    if paths:
        from bai_wizard.node.accounts import AccountFiles

        # The account may install what it wrote itself: this runs nothing that the account could not run anyway.
        accounts = AccountFiles(str(root))
        account = accounts.account(desired.context.account)
        trust = Trust((*trust.users, account.uid) if account is not None else trust.users, accounts)
        for path in paths:
            with suppress(OSError):
                trust.judge_content(f"{prefix}{path}")


def trusted_files(desired: DesiredState) -> list[tuple[str, bool]]:
    """The files of the node whose content root relies on; true for those that hold a secret."""
    result: list[tuple[str, bool]] = [(path, False) for path in desired.context.ca_certificates]
    tables: Mapping[str, Any] = desired.settings
    if "docker" in tables:
        result += [(path, False) for path in (tables["docker"].key_file, *tables["docker"].registry_ca.values())]
    if "images" in tables:
        result += [(registry.ca_file, False) for registry in tables["images"].registries]
    if "accelerators" in tables and tables["accelerators"].nvidia is not None:
        result.append((tables["accelerators"].nvidia.key_file, False))
    if "storage" in tables:
        result += [(getattr(volume, "secret_file", ""), True) for volume in tables["storage"].volumes]
    return [(path, private) for path, private in result if path]


def trusted_paths(desired: DesiredState) -> list[str]:
    """Local directories and files from which the service account installs code; a bundle is covered by its digest."""
    from bai_wizard.node.safe_path import local_path

    python: Any = desired.settings.get("python")
    if python is None:
        return []
    bundle = desired.context.bundle
    result = [local_path(source) for source in (*python.find_links, python.pyenv_url)]
    return [path for path in result if path and not (bundle and f"{path}/".startswith(f"{bundle}/"))]


def local_machine(root: str = "/") -> Machine:
    """The node that this process runs on."""
    from bai_wizard.resources.local import LocalMachine

    return LocalMachine(root)


def paths(root: str = "/") -> StatePaths:
    """The paths of this node's runs."""
    return StatePaths(Path(root))


Detected = dict[str, tuple[tuple[str, str], ...]]


def detect(machine: Machine, settings: Mapping[str, Settings], context: Context) -> Detected:
    """The current state by page. A page whose probe fails shows the reason."""
    return describe(machine, probe_all(machine, settings, context))


def probe_all(
    machine: Machine, settings: Mapping[str, Settings], context: Context
) -> dict[str, Facts | StateUnknown]:
    """The facts of every page, or why they are unknown."""
    machine = RememberingMachine(machine)
    with machine.helpers():
        return dict(_probe_all(machine, settings, context))


def _probe_all(
    machine: Machine, settings: Mapping[str, Settings], context: Context
) -> Iterator[tuple[str, Facts | StateUnknown]]:
    for name in ORDER:
        page = load(name)
        wanted = settings.get(page.table or name) or page.settings(apply=False)
        try:
            yield name, page.probe(machine, wanted, context)
        except StateUnknown as error:
            yield name, error


def describe(machine: Machine, facts: Mapping[str, Facts | StateUnknown]) -> Detected:
    """Hardware and facts as label/value pairs."""
    result: Detected = {"hardware": _hardware(machine)}
    for name, known in facts.items():
        is_known = not isinstance(known, StateUnknown)
        result[name] = load(name).now(known) if is_known else (("cannot tell", str(known)),)
    return result


# The labels of version 0.1.0, by the end of today's label. JSON output has both until version 0.3.
FORMER_LABELS = {
    "Platform": "Runs in",
    "Uptime": "Up for",
    "System Python": "The system's Python",
    " missing": " lacks",
    "nofile": "logins: nofile",
    "nproc": "logins: nproc",
    "memlock": "logins: memlock",
}


def with_former_labels(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The values of a page for JSON output, where labels are keys: renamed ones also under their former label."""
    values = dict(rows)
    if "UID" in values:
        values["Ids"] = f"{values['UID']}/{values['GID']}"
    return values | {_relabeled(label, FORMER_LABELS.items()): value for label, value in values.items()}


def with_current_labels(values: Mapping[str, T]) -> dict[str, T]:
    """The values of a page from JSON output, without former labels."""
    current = [(former, label) for label, former in FORMER_LABELS.items()]
    return {_relabeled(label, current): value for label, value in values.items()}


def _relabeled(label: str, ends: Iterable[tuple[str, str]]) -> str:
    return next((label.removesuffix(old) + new for old, new in ends if label.endswith(old)), label)


def _hardware(machine: Machine) -> tuple[tuple[str, str], ...]:
    try:
        processor, memory = machine.hardware("processor"), machine.hardware("memory")
        # The root of a container is not a disk.
        disks = [disk for disk in machine.hardware("disks") if disk.fstype != "overlay"]
    except StateUnknown as error:
        return (("cannot tell", str(error)),)
    return (
        ("processor", f"{processor.model}, {processor.cores} cores, {processor.threads} threads"),
        ("memory", f"{memory.total >> 30} GiB, {memory.available >> 30} GiB available"),
        *((disk.path, f"{disk.fstype}, {disk.used >> 30} of {disk.total >> 30} GiB used") for disk in disks),
    )
