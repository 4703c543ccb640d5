"""Commands on runs: `runs`, `attach`, `resume` and `undo`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from msgspec.structs import replace

from bai_wizard import compose
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.engine.choose import Held, choose_resume, choose_undo, held_by, newer_on_the_same, state_of
from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of, find_run, refuse_without_runs
from bai_wizard.engine.events import size_of_events
from bai_wizard.engine.lock import StatePaths, current, is_held, refuse_held
from bai_wizard.engine.recovery import doubt, made_elsewhere, refusal, refuse_foreign
from bai_wizard.engine.result import undo_counts
from bai_wizard.engine.undo import UndoPlan
from bai_wizard.exit_codes import ExitCode
from bai_wizard.session import Session, local_session
from bai_wizard.ui import present
from bai_wizard.ui.text.output import Output, agree_to, output_for, require_root, terminal_for, watch

# Who started a run and with which answers, and the plan file that it applied. Runs of older versions lack them.
ORIGIN = ("actor", "answers_digest", "approval")
HEADERS = ("Run", "No.", "Kind", "State", "Steps", "Holds", "Note")


def run_runs(arguments: argparse.Namespace) -> ExitCode:
    """Print one line per run, newest last: what it was, how it ended, and what it still holds."""
    machine, paths = compose.local_machine(arguments.root), compose.paths(arguments.root)
    runs = all_runs(paths)
    if arguments.json:
        for each in runs:
            print(json.dumps({"v": 1, **_values(paths, each, machine)}))
    elif not runs:
        print("no runs yet")
    elif terminal := terminal_for(sys.stdout, arguments):
        terminal.table("", HEADERS, (_cells(paths, each, machine) for each in runs))
    else:
        for each in runs:
            print("  ".join(filter(None, _cells(paths, each, machine))))
    return ExitCode.OK


def _values(paths: StatePaths, run: RunDirectory, machine: Machine) -> dict[str, Any]:
    """`number` is null for runs of 0.1.0; `holds` (changes not undone) is null if it cannot be determined."""
    held = held_by(run)
    number = {"number": run.number or None}
    if damage := damage_of(run):
        holds = {"holds": None if held.unknown else held.changes}
        return {"run": run.id, "kind": "unknown", "state": "damaged", "reason": damage, **number, **holds}
    # The changes of an undo run cannot be undone themselves.
    holds = {"holds": None if held.unknown else held.changes if run.kind == "apply" else 0}
    foreign = refusal(run, machine, "undo")
    result = run.result()
    counts = {"counts": result["counts"]} if result else {}
    kept = {"not_undoable": foreign} if foreign else {}
    kept |= {"reason": held.unknown} if held.unknown else {}
    kept |= {name: run.metadata[name] for name in ORIGIN if name in run.metadata}
    return {"run": run.id, "kind": run.kind, "state": state_of(paths, run), **counts, **number, **holds, **kept}


def _cells(paths: StatePaths, run: RunDirectory, machine: Machine) -> tuple[str, ...]:
    """What the list shows of a run, as in `HEADERS`."""
    number = f"#{run.number}" if run.number else ""
    held = held_by(run)
    if damage := damage_of(run):
        return run.id, number, "", "damaged", damage, f"{held}" if held.changes else "", ""
    result = run.result() or {}
    undone, kept = undo_counts(result)
    if undone is not None:
        counts = present.undo_counts(undone, kept or 0)
    else:
        counts = ", ".join(f"{count} {name}" for name, count in result.get("counts", {}).items() if count)
    kind = f"undo of {run.metadata['undoes']}" if run.kind == "undo" else run.kind
    holds = f"{held}" if run.kind == "apply" else f"damaged: {held.unknown}" if held.unknown else ""
    return run.id, number, kind, state_of(paths, run), counts, holds, refusal(run, machine, "undo")


def run_attach(arguments: argparse.Namespace) -> ExitCode:
    """Exit with the run's own code; Ctrl-C only stops watching."""
    session = local_session(arguments.root)
    notice = current(session.paths) if is_held(session.paths) else None
    run = find_run(session.paths, arguments.run or (notice or {}).get("run", ""))
    code, _ = watch(session, run, output_for(arguments), stop=False, started=False)
    return code


def run_resume(arguments: argparse.Namespace) -> ExitCode:
    """Another attempt of the same run: recover, plan again, show, apply."""
    session = local_session(arguments.root)
    require_root(session.machine, arguments)
    refuse_held(session.paths)
    refuse_without_runs(session.paths)
    planned_at = session.planned_at()
    output = output_for(arguments)
    if arguments.run:
        run = find_run(session.paths, arguments.run)
    else:
        choice = choose_resume(session.paths, session.machine)
        for message in choice.messages:
            output.note(message)
        if choice.run is None:
            return ExitCode.OK
        run = choice.run
    refuse_foreign(run, session.machine, "resume")
    if doubtful := doubt(run, session.machine.host):
        output.note(doubtful)
    compose.use_secret_sources()
    attempt = session.plan_resume(run, recover=not arguments.plan, log=lambda text, **_: output.note(text))
    for message in attempt.messages:
        output.note(message)
    if arguments.plan and attempt.undo is not None:
        undone, wanted = attempt.undo
        force = bool(run.metadata.get("force"))
        output.undo_plan(undone.id, wanted, held_by(undone), force=force)
        return ExitCode.FAILED if wanted.conflicts or wanted.damages else ExitCode.OK
    if attempt.undo is None:
        output.plan(attempt.plan, {}, attempt.disruptions)
        compose.refuse_blocked(attempt.plan, to_show=arguments.plan and not session.machine.is_root)
    if arguments.plan:
        return ExitCode.OK
    # Consent to an earlier attempt does not cover what is running now.
    consent = agree_to(attempt.disruptions, arguments.yes_interrupt, output, compose.conditions_of(run))
    offset = size_of_events(run)
    session.begin_again(run, attempt.plan, consent, planned_at)
    code, _ = watch(session, run, output, offset=offset)
    return code


def run_undo(arguments: argparse.Namespace) -> ExitCode:
    """4 if something is kept because it was changed since, or because its records are damaged."""

    session = local_session(arguments.root)
    require_root(session.machine, arguments)
    refuse_held(session.paths)
    refuse_without_runs(session.paths)
    planned_at = session.planned_at()
    output = output_for(arguments)
    undone = _which(session, arguments, output)
    if undone is None:
        return ExitCode.OK
    refused = _prepare(session, undone, arguments, output)
    held, wanted = _show_undo_plan(session, undone, output, force=arguments.force)
    if arguments.plan and refused:
        raise PreflightError(refused)
    nothing = not wanted.conflicts and (not held or (wanted.in_use and not wanted.changes))
    if arguments.plan or nothing:
        return ExitCode.FAILED if wanted.conflicts or wanted.damages else ExitCode.OK
    consent = agree_to(wanted.disruptions, arguments.yes_interrupt, output)
    run = session.begin_undo(undone, consent, planned_at, force=arguments.force)
    code, _ = watch(session, run, output)
    return code


def _which(session: Session, arguments: argparse.Namespace, output: Output) -> RunDirectory | None:
    """The named run, or else the newest that holds changes; None if nothing is left to undo."""
    if arguments.run:
        return find_run(session.paths, arguments.run, kind="apply")
    choice = choose_undo(session.paths, session.machine, to_show=arguments.plan, force=arguments.force)
    for message in choice.messages:
        output.note(message)
    return choice.run


def _prepare(session: Session, undone: RunDirectory, arguments: argparse.Namespace, output: Output) -> str:
    """Recover interrupted changes; returns why the run can only be shown here, empty if it can be undone.

    Raises PreflightError for a run that cannot even be shown.
    """
    machine = session.machine
    refused = refusal(undone, machine, "undo", force=arguments.force)
    if refused and not (arguments.plan and not made_elsewhere(undone, machine)):
        raise PreflightError(refused)
    session.wait_for_package_tool(lambda text, **_: output.note(text))
    if not refused and (doubtful := doubt(undone, machine.host)):
        output.note(doubtful)
    if not refused and not arguments.plan:
        for message in session.recover(undone):
            output.note(message)
    return refused


def _show_undo_plan(session: Session, undone: RunDirectory, output: Output, *, force: bool) -> tuple[Held, UndoPlan]:
    """Show what the undo would do; returns it, and what the run still holds."""
    held = held_by(undone)
    wanted = session.plan_undo(undone, force=force)
    if not held:  # only restarts that an earlier undo has repeated
        wanted = replace(wanted, changes=(), commands=0, disruptions={})
    output.undo_plan(undone.id, wanted, held, force=force)
    if wanted.conflicts:
        for message in newer_on_the_same(session.paths, undone):
            output.note(message)
    return held, wanted
