"""Undo: itself a journalled run, over the journal of the run it takes back."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.change import Change
from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.event import Outcome
from bai_wizard.core.machine import Machine
from bai_wizard.core.overlay import Overlay
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.view import NodeView
from bai_wizard.engine.run.backups import Backups
from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.engine.run.journal import Journal
from bai_wizard.engine.run.narrator import Narrator, StepLog
from bai_wizard.engine.run.node import Instant, JournalledNode, no_instant
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result, StepResult
from bai_wizard.engine.run.settle import settle
from bai_wizard.engine.run.takeback import assess, in_order, lasting, take_back


@dataclass(frozen=True)
class UndoPlan:
    """What an undo would change, what it would leave alone and why, and what stays in any case."""

    changes: tuple[tuple[str, Change], ...]
    conflicts: tuple[str, ...]
    lasting: tuple[str, ...]


def journal_of(run: RunDirectory) -> Journal:
    """The journal of a run, reading and writing its backups."""
    return Journal(run.journal, Backups(run.backup))


def plan_undo(run: RunDirectory, view: NodeView) -> UndoPlan:
    """Rehearses the undo of `run` over the node as it is, newest change first."""
    overlay = Overlay(view)
    changes: list[tuple[str, Change]] = []
    conflicts: list[str] = []
    staying: list[str] = []
    for entry in in_order(journal_of(run).entries()):
        verdict = assess(entry, overlay)
        if verdict.inverse is None:
            staying.append(f"{entry.step}: {lasting(entry)}")
        elif verdict.conflict:
            conflicts.append(f"{entry.step}: {verdict.conflict}")
        else:
            changes += [(entry.step, change) for change in _rehearsed(overlay, verdict.inverse, entry.step)]
    return UndoPlan(tuple(changes), tuple(conflicts), tuple(dict.fromkeys(staying)))


def _rehearsed(overlay: Overlay, inverse: Primitive, step: str) -> tuple[Change, ...]:
    try:
        return overlay.lay(inverse, step)
    except NotYetKnown:
        told = "seen once nothing is mounted over it"
        return tuple(Change(key.name, "modify", attributes=told) for key in inverse.keys())


def undo(
    undone: RunDirectory,
    journal: Journal,
    machine: Machine,
    narrator: Narrator,
    *,
    force: bool = False,
    instant: Instant = no_instant,
) -> Result:
    """Takes a run back under the journal of an undo run. What had to be left alone makes the result a failure."""
    theirs = journal_of(undone)
    for told in settle(theirs, machine):
        narrator.tell("log", told)
    opened = narrator.tell("started", f"take back run {undone.id}", step="undo")
    log = StepLog(narrator, "undo", opened)
    node = JournalledNode(machine, journal, "undo", log, instant)
    taken = take_back(theirs.entries(), theirs, machine, log, node=node, force=force)
    theirs.close()
    for text in taken.left:
        log(f"left alone: {text}", level="warning")
    outcome: Outcome = "failed" if taken.left else "changed" if taken.undone else "unchanged"
    text = f"left alone: {'; '.join(taken.left)}" if taken.left else ""
    narrator.tell("finished", text, step="undo", parent=opened, outcome=outcome)
    step = StepResult("undo", f"take back run {undone.id}", outcome, text=text)
    return Result((step,), "", tuple(dict.fromkeys(taken.lasting)))


def settle_cut_undos(places: Places, undone: str, machine: Machine) -> None:
    """Settles the journals of earlier undo runs of the same run that were cut."""
    for run in all_runs(places):
        if run.kind == "undo" and run.about.get("undoes") == undone and run.result() is None:
            settle(journal_of(run), machine)
