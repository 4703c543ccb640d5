"""The handover report of a run, which `fleet report` and `compare` read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bai_wizard import __version__
from bai_wizard.compose import DesiredState, describe, probe_all, table_of, with_current_labels, with_former_labels
from bai_wizard.core.consent import Affected, Disruptions, disruptions_to_json
from bai_wizard.core.display import markdown_code, markdown_text
from bai_wizard.core.errors import PreflightError, StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.memory import RememberingMachine
from bai_wizard.core.page import Context, Known, Unknown
from bai_wizard.core.secret import redact, redacted
from bai_wizard.engine.result import Result
from bai_wizard.exit_codes import ExitCode
from bai_wizard.locale import N_, tr
from bai_wizard.node.user_files import check_requested_file, write_requested_file
from bai_wizard.pages import ORDER, TITLES, load, settings_of
from bai_wizard.ui import present
from bai_wizard.ui.fleet.compare import CANNOT_TELL, MISSING
from bai_wizard.ui.progress import next_commands
from bai_wizard.ui.text.handover import handover

# Nothing was interrupted.
NOTHING: Disruptions = {}


def check_report(file: str) -> None:
    """Raise PreflightError if `write_report` would reject this file; called before a run begins."""
    if not file.endswith((".json", ".md")):
        raise PreflightError(f"--report {file}: the name must end in .md or .json")
    check_requested_file(file)


def write_report(
    file: str,
    machine: Machine,
    run: str,
    result: Result,
    desired: DesiredState | None = None,
    overrides: Sequence[str] = (),
    approval: Mapping[str, Any] | None = None,
    disruptions: Disruptions = NOTHING,
    notes: Sequence[str] = (),
) -> None:
    """Write Markdown (`.md`) or JSON (`.json`). `notes` are those of the plan.

    Raises PreflightError for other suffixes or if it cannot be written.
    """
    check_report(file)
    report = {**make_report(machine, run, result, desired), "overrides": list(overrides)}
    if approval:
        report["approval"] = redacted(dict(approval))
    if run and disruptions:
        report["interrupts"] = redacted(disruptions_to_json(disruptions))
        report["interrupted"] = [redact(line) for affected in disruptions.values() for line in _names(affected)]
    if notes:
        report["notes"] = [redact(note) for note in notes]
    text = json.dumps(report, indent=1) + "\n" if file.endswith(".json") else markdown(report)
    write_requested_file(file, text.encode(errors="backslashreplace"))


def _names(affected: tuple[Affected, ...]) -> tuple[str, ...]:
    from bai_wizard.ui.workloads import workload_lines

    return workload_lines(affected) or tuple(item.name for item in affected)


def make_report(machine: Machine, run: str, result: Result, desired: DesiredState | None) -> dict[str, Any]:
    """The report as data, with redacted values; `compare` reads it."""
    context = desired.context if desired else Context(host=machine.host)
    machine = RememberingMachine(machine)
    with machine.helpers():
        return _report(machine, run, result, desired, context)


def _report(
    machine: Machine, run: str, result: Result, desired: DesiredState | None, context: Context
) -> dict[str, Any]:
    facts = probe_all(machine, desired.settings if desired else {}, context)
    report = {
        "version": 1,
        "wizard": __version__,
        "host": machine.host,
        "written": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "run": run,
        "same": fleet_fingerprint(machine, desired),
        "node": {page: with_former_labels(rows) for page, rows in describe(machine, facts).items()},
        "result": result.to_json(),
        "open": [{"page": page, "reason": reason} for page, reason in still_open(desired, facts)],
        "next": next_commands(machine, context) if result.code() in (ExitCode.OK, ExitCode.OPTIONAL_FAILED) else [],
        "handover": handover(machine, desired) if desired else [],
    }
    return {field: redacted(value, field) for field, value in report.items()}


def still_open(desired: DesiredState | None, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each page that this run did not apply, or that has something that the answers do not configure."""
    for page in ORDER:
        if desired is None or page not in desired.pages:
            yield page, N_("not part of this run")
            continue
        if isinstance(facts[page], StateUnknown):
            yield page, f"cannot be determined: {facts[page]}"
        elif reason := load(page).unset(desired.settings[table_of(page)], facts[page], desired.context):
            yield page, f"not set up: {reason}"


def markdown(report: dict[str, Any]) -> str:
    """The report as one human-readable page, in the language of the wizard."""
    result = report["result"]
    run = report["run"] or tr("none needed")
    lines = [f"# {tr('{host}: handover report', host=markdown_text(report['host']))}", ""]
    lines += [f"{report['written']}, bai-wizard {report['wizard']}, {tr('run {run}', run=run)}", ""]
    code = tr("exit code {code}", code=result["code"])
    lines += [f"**{tr('Result:')}** {present.counts(Result.from_json(result))}; {code}", ""]
    if approval := report.get("approval"):
        lines += [f"**{tr('Approved plan:')}** {_told(approval_text(approval))}", ""]
    for page, rows in report["node"].items():
        if rows:
            lines += [f"## {_told(TITLES.get(page, page))}", "", "| | |", "|---|---|"]
            lines += [f"| {_told(label)} | {_told(value)} |" for label, value in with_current_labels(rows).items()]
            lines += [""]
    for outcome, title in (("changed", tr("Changed")), ("failed", tr("Failed"))):
        steps = [step for step in result["steps"] if step["outcome"] == outcome]
        told = (f"{markdown_code(step['step'])} {_told(step['describe'])} {_told(step['text'])}" for step in steps)
        lines += _section(title, told)
    lines += _section(tr("Running before the run"), map(_told, report.get("interrupted") or ()))
    lines += _section(tr("Hooks and conditions of disruptive steps"), map(_told, report.get("notes") or ()))
    lines += _section(tr("At the next login"), map(markdown_code, result["next_login"]))
    lines += _section(tr("After a reboot"), map(markdown_code, result["reboot"]))
    lines += _section(tr("Kept by undo"), map(_told, result["lasting"]))
    pages = (f"{tr(TITLES[item['page']])}: {_told(item['reason'])}" for item in report["open"])
    lines += _section(tr("Still open"), pages)
    lines += _section(tr("Next"), map(markdown_code, report["next"]))
    for title in dict.fromkeys(item["title"] for item in report.get("handover", ())):
        texts = (item["text"] for item in report.get("handover", ()) if item["title"] == title)
        lines += _section(_told(title), map(_told, texts))
    return "\n".join(lines)


def _told(text: str) -> str:
    return markdown_text(tr(text))


def _section(title: str, items: Iterable[str]) -> list[str]:
    """A list below its title; nothing without items."""
    points = [f"* {item}" for item in items]
    return [f"## {title}", "", *points, ""] if points else []


def approval_text(approval: Mapping[str, Any]) -> str:
    """When and by whom a plan file was written and approved, and its digest."""
    planner = approval["planned_by"]
    who = planner["sudo_user"] or f"UID {planner['uid']}"
    parts = [f"planned {approval['planned']} by {who}"]
    parts += [f"{label} {approval[name]}" for name, label in APPROVALS.items() if approval[name]]
    return "; ".join([*parts, f"SHA-256 {approval['plan_file']}"])


APPROVALS = {"signed_by": "signed by", "approved_by": "approved by", "ticket": "ticket"}


def fleet_fingerprint(machine: Machine, desired: DesiredState | None) -> dict[str, str]:
    """Values by label, in order of importance. What this node neither has nor should have is omitted."""
    context = desired.context if desired else Context(host=machine.host)
    result: dict[str, str] = {}
    if context.backend_ai:
        result["Backend.AI release"] = context.backend_ai
    for part in (_account, _volumes, _engine, _driver, _python):
        try:
            result.update(part(machine, desired, context))
        except StateUnknown as error:
            result[part.__name__.strip("_")] = f"{CANNOT_TELL}: {error}"
    return result


def _account(machine: Machine, desired: DesiredState | None, context: Context) -> Iterator[tuple[str, str]]:
    account = machine.account(context.account)
    if account is not None:
        yield "operation account", account.name
        yield "operation account: uid", str(account.uid)
        yield "operation account: gid", str(account.gid)
    elif desired and "account" in desired.pages:
        yield "operation account", MISSING


def _volumes(machine: Machine, desired: DesiredState | None, context: Context) -> Iterator[tuple[str, str]]:
    """The names, and the path and source of every volume in the answers. A local volume has no shared source."""
    if desired is None or "storage" not in desired.settings:
        return
    volumes = _facts("storage", machine, desired, context).volumes
    if volumes:
        # A volume that is named differently or missing on a node has no label there that could differ.
        yield "volume names", ", ".join(sorted(volume.name for volume in volumes))
    for volume in volumes:
        yield f"volume {volume.name}: path", volume.path
        if volume.type == "local":
            continue
        mount = volume.mount
        source = mount.value.source if isinstance(mount, Known) else MISSING
        yield (
            f"volume {volume.name}: source",
            f"{CANNOT_TELL}: {mount.reason}" if isinstance(mount, Unknown) else source,
        )


def _engine(machine: Machine, desired: DesiredState | None, context: Context) -> Iterator[tuple[str, str]]:
    engine = _facts("docker", machine, desired, context).engine
    if isinstance(engine, Known):
        yield "container engine", f"{engine.value.product} {engine.value.version}"
        yield "container engine: storage driver", engine.value.driver
    elif isinstance(engine, Unknown):
        yield "container engine", f"{CANNOT_TELL}: {engine.reason}"
    elif desired and "docker" in desired.pages:
        yield "container engine", MISSING


def _driver(machine: Machine, desired: DesiredState | None, context: Context) -> Iterator[tuple[str, str]]:
    """Nodes without NVIDIA GPUs have no driver to compare."""
    nvidia = _facts("accelerators", machine, desired, context).nvidia
    if nvidia is None:
        return
    if isinstance(nvidia.loaded, Known):
        yield "NVIDIA driver", nvidia.loaded.value
    elif isinstance(nvidia.loaded, Unknown):
        yield "NVIDIA driver", f"{CANNOT_TELL}: {nvidia.loaded.reason}"
    else:
        yield "NVIDIA driver", MISSING


def _python(machine: Machine, desired: DesiredState | None, context: Context) -> Iterator[tuple[str, str]]:
    """The interpreters in the account's directory by minor release, and each service's environment."""
    facts = _facts("python", machine, desired, context)
    if isinstance(facts.standalone, Known):
        for version in facts.standalone.value:
            yield f"Python {'.'.join(version.split('.')[:2])}", version
    elif isinstance(facts.standalone, Unknown):
        yield "Python", f"{CANNOT_TELL}: {facts.standalone.reason}"
    for name, venv in facts.venvs:
        if isinstance(venv, Known):
            yield f"Python of {name}", venv.value.version


def _facts(page: str, machine: Machine, desired: DesiredState | None, context: Context) -> Any:
    """The facts from that page's probe. Raises StateUnknown."""
    result = load(page)
    table = result.table or page
    wanted = desired.settings.get(table) if desired else None
    return result.probe(machine, wanted if wanted is not None else settings_of(table)(), context)
