"""Undo: a journaled run of its own, over the journal of the run that it undoes; the same for one failed step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from bai_wizard.core.consent import Disruptions, Interrupt, affected_by
from bai_wizard.core.errors import KnownAfterApply, PreflightError, StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Machine
from bai_wizard.core.operation import Change, Operation
from bai_wizard.core.predicted import PredictedMachine, PredictedNode
from bai_wizard.core.step import Node
from bai_wizard.engine.assess import Shared, Verdict, not_shared
from bai_wizard.engine.decide import decide, goes_with, in_order, reassess
from bai_wizard.engine.directory import RunDirectory, contents_of, damage_of, journal_of
from bai_wizard.engine.durable import Damaged
from bai_wizard.engine.journal import Entry, Journal
from bai_wizard.engine.records import read_records, reverted
from bai_wizard.engine.recovery import is_cut, predict_recovered, refusal
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.users import RemoveUser


class RollbackResult(Struct):
    """The result of an undo. `left` are conflicts and failures, `lasting` what stays in any case.

    `undone` counts everything that was undone, `changes` the same without repeated commands.
    """

    undone: int = 0
    changes: int = 0
    left: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)


def allowed(inverse: Operation, step: str) -> str:
    """Rolling back a failed step never needs a second confirmation."""
    return ""


def rollback(
    entries: Sequence[Entry],
    journal: Journal,
    machine: Machine,
    log: Log,
    *,
    node: Node | None = None,
    force: bool = False,
    refuse: Callable[[Operation, str], str] = allowed,
    shared: Shared = not_shared,
) -> RollbackResult:
    """Undo `entries` of `journal`.

    With `node`, the inverses are themselves journaled (an undo run). With `force`, later edits by others are undone
    as well. `refuse` is called right before an inverse is applied and returns why it must not be. An entry that
    cannot be undone also keeps those that depend on it.
    """
    result = RollbackResult()
    failed: dict[int, str] = {}
    rest = in_order(entries)
    while rest:
        verdicts, _ = decide(rest, machine, force=force, shared=shared, failed=failed)
        rest = _until_failure(verdicts, result, failed, journal, machine, log, node, refuse, force, shared)
    return result


def _until_failure(
    verdicts: Sequence[Verdict],
    result: RollbackResult,
    failed: dict[int, str],
    journal: Journal,
    machine: Machine,
    log: Log,
    node: Node | None,
    refuse: Callable[[Operation, str], str],
    force: bool,
    shared: Shared,
) -> list[Entry]:
    """Apply verdicts; returns the entries to decide again after one that turned out differently."""
    for index, planned in enumerate(verdicts):
        entry, verdict = planned.entry, planned
        if planned.lasting:
            result.lasting.append(f"{entry.step}: {irreversible_reason(entry)}")
            continue
        if planned.inverse is not None:
            # The node may have changed since, and what was hidden under a mount may be visible now.
            gone = {each.inverse.name for each in verdicts if isinstance(each.inverse, RemoveUser)}
            verdict = reassess(entry, machine, gone, force=force, shared=shared)
            following = verdicts[index + 1] if index + 1 < len(verdicts) else None
            if isinstance(verdict.inverse, RemoveUser) and goes_with(verdict.inverse, following, machine):
                verdict = replace(verdict, inverse=replace(verdict.inverse, with_group=True))
        reason = ""
        if verdict.inverse is not None:
            reason = refuse(verdict.inverse, entry.step)
            try:
                if not reason:
                    _perform(verdict.inverse, machine, log, node)
            except (StepFailed, StateUnknown) as error:
                reason = str(error)
        if reason and entry.number not in failed:
            failed[entry.number] = reason
            return [each.entry for each in verdicts[index:]]
        _settle(replace(verdict, conflict=reason or verdict.conflict), result, journal)
        if isinstance(verdict.inverse, SetMount):
            return [each.entry for each in verdicts[index + 1 :]]
    return []


def _settle(verdict: Verdict, result: RollbackResult, journal: Journal) -> None:
    entry = verdict.entry
    if verdict.conflict:
        result.left.append(f"{entry.step}: {verdict.conflict}")
    elif verdict.stays:
        result.lasting.append(f"{entry.step}: {verdict.stays}")
    else:
        result.undone += 1
        result.changes += not entry.operation.undo_last
    journal.finish(entry.number, "left" if verdict.conflict or verdict.stays else "undone")


def irreversible_reason(entry: Entry) -> str:
    """Why something without an inverse stays."""
    return entry.operation.irreversible_reason() or f"{entry.operation.kind} cannot be undone"


def _perform(inverse: Operation, machine: Machine, log: Log, node: Node | None) -> None:
    for change in inverse.changes({key: machine.state(key) for key in inverse.keys()}):
        log(change.headline())
    if node is not None:
        node.do(inverse)
    elif not inverse.is_satisfied({key: machine.state(key) for key in inverse.keys()}):
        machine.apply(inverse, log)


class UndoPlan(Struct, frozen=True):
    """What an undo would change, what it would leave and why, what stays in any case, and what it would disrupt.

    `recovered`: what becomes of interrupted changes before anything is undone.
    `commands`: how many of `changes` only reload or restart something; they come last.
    `in_use`: the part of `lasting` that is ours and would be removed if others did not use it.
    `damages` is what is damaged or missing in the records of the run and therefore cannot be undone.
    """

    changes: tuple[tuple[str, Change], ...]
    conflicts: tuple[str, ...]
    lasting: tuple[str, ...]
    disruptions: Disruptions = field(default_factory=dict)
    recovered: tuple[str, ...] = ()
    damages: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    commands: int = 0


def settings_of(run: RunDirectory) -> dict[str, Any]:
    """The answers of a run, for the record of its undo, which does not depend on them."""
    try:
        return run.settings()
    except Damaged:
        return {}


def plan_undo(
    run: RunDirectory, machine: Machine, *, force: bool = False, others: Sequence[RunDirectory] | None = None
) -> UndoPlan:
    """What the undo of `run` would do on the current node, newest change first. Changes neither node nor records.

    `others`: the other runs of this node, by default those in the same directory.
    """
    beside = others_of(run) if others is None else others
    predicted = PredictedMachine(machine)
    recovered = _recovered_first(beside, machine, predicted)
    contents = contents_of(run, journal_of(run))
    entries, own = predict_recovered(contents.entries, predicted)
    recovered += own
    interrupts: list[Interrupt] = []
    declared = declared_interrupts(run)
    changes: list[tuple[str, Change]] = []
    conflicts: list[str] = []
    staying: list[str] = []
    in_use: list[str] = []
    commands = 0
    verdicts, _ = decide(in_order(entries), predicted, force=force, shared=shared_with(beside))
    overlay = PredictedNode(predicted)
    for verdict in verdicts:
        entry = verdict.entry
        if verdict.lasting:
            staying.append(f"{entry.step}: {irreversible_reason(entry)}")
        elif verdict.stays:
            staying.append(f"{entry.step}: {verdict.stays}")
            in_use.append(staying[-1])
        if verdict.conflict:
            conflicts.append(f"{entry.step}: {verdict.conflict}")
        if verdict.inverse is not None:
            predicted_changes = _rehearsed(overlay, verdict.inverse, entry.step)
            changes += [(entry.step, change) for change in predicted_changes]
            commands += len(predicted_changes) if entry.operation.undo_last else 0
            interrupts += verdict.inverse.interrupts(declared.get(entry.step, ()))
    disruptions = affected_by(machine, interrupts)
    return UndoPlan(
        tuple(changes),
        tuple(conflicts),
        tuple(dict.fromkeys(staying)),
        disruptions,
        tuple(recovered),
        contents.damages,
        tuple(in_use),
        commands,
    )


def _recovered_first(others: Sequence[RunDirectory], machine: Machine, predicted: PredictedMachine) -> list[str]:
    """Predict the recovery of interrupted runs on `predicted`; returns its messages."""
    messages: list[str] = []
    for other in sorted(others, key=RunDirectory.order):
        if is_cut(other) and not refusal(other, machine, "undo"):
            lines = predict_recovered(journal_of(other).entries(), predicted)[1]
            messages += [f"run {other.id} was interrupted; {text}" for text in lines]
    return messages


def others_of(run: RunDirectory) -> list[RunDirectory]:
    """The other runs of the same node."""
    directory = run.path.parent
    names = sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    return [RunDirectory(directory / name) for name in names if name != run.id]


def shared_with(others: Sequence[RunDirectory]) -> Shared:
    """Whether one of these runs wrote a file and was not undone. A run that cannot be read shares no file."""
    result: set[str] | None = None

    def is_shared(path: str) -> bool:
        nonlocal result
        if result is None:
            result = {path for run in others for path in _files_of(run)}
        return path in result

    return is_shared


def _files_of(run: RunDirectory) -> set[str]:
    """The files that a run has written, except those undone."""
    if damage_of(run) or run.kind != "apply":
        return set()
    records = read_records(run.journal).records
    gone = reverted(records)
    rows = [record.get("before") for record in records if record["what"] == "intent" and record["n"] not in gone]
    keys = [row for each in rows if isinstance(each, list) for row in each if isinstance(row, list) and len(row) == 3]
    return {name for sort, name, _ in keys if sort == "file" and isinstance(name, str)}


def _rehearsed(predicted: PredictedNode, inverse: Operation, step: str) -> tuple[Change, ...]:
    try:
        return predicted.predict(inverse, step)
    except KnownAfterApply:
        message = "known after the volume is unmounted"
        return tuple(Change(key.name, "modify", attributes=message, key=key) for key in inverse.keys())


def declared_interrupts(run: RunDirectory) -> dict[str, tuple[Interrupt, ...]]:
    """What the steps of a run may interrupt; empty if its plan cannot be read by this version."""
    try:
        return {planned.step.id: planned.step.interrupts for planned in run.plan().steps}
    except PreflightError:
        return {}
