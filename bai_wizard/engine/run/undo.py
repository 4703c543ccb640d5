"""Undo: itself a journalled run, over the journal of the run it takes back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from bai_wizard.core.change import Change
from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.event import Outcome
from bai_wizard.core.machine import Machine
from bai_wizard.core.overlay import Overlay
from bai_wizard.core.primitives import Primitive
from bai_wizard.engine.run.backups import Backups
from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.engine.run.journal import Journal
from bai_wizard.engine.run.narrator import Narrator, StepLog
from bai_wizard.engine.run.node import Instant, JournalledNode, no_instant
from bai_wizard.engine.run.places import Places
from bai_wizard.engine.run.result import Result, StepResult
from bai_wizard.engine.run.settle import settle
from bai_wizard.engine.run.takeback import assess, in_order, interrupt_of, lasting, take_back


@dataclass(frozen=True)
class UndoPlan:
    """What an undo would change, what it would leave alone and why, what stays in any case, and what it would hit."""

    changes: tuple[tuple[str, Change], ...]
    conflicts: tuple[str, ...]
    lasting: tuple[str, ...]
    hits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def journal_of(run: RunDirectory) -> Journal:
    """The journal of a run, reading and writing its backups."""
    return Journal(run.journal, Backups(run.backup))


def plan_undo(run: RunDirectory, machine: Machine) -> UndoPlan:
    """Rehearses the undo of `run` over the node as it is, newest change first."""
    overlay = Overlay(machine)
    hits: dict[str, tuple[str, ...]] = {}
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
            interrupt = interrupt_of(verdict.inverse)
            if interrupt is not None and (hit := machine.affected(interrupt)):
                hits[interrupt] = hit
    return UndoPlan(tuple(changes), tuple(conflicts), tuple(dict.fromkeys(staying)), hits)


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
    consent: Collection[str] = (),
    instant: Instant = no_instant,
) -> Result:
    """Takes a run back under the journal of an undo run. What had to be left alone makes the result a failure."""
    theirs = journal_of(undone)
    for told in settle(theirs, machine):
        narrator.tell("log", told)
    opened = narrator.tell("started", f"take back run {undone.id}", step="undo")
    log = StepLog(narrator, "undo", opened)
    node = JournalledNode(machine, journal, "undo", log, instant)
    refuse = partial(_unconsented, machine, consent)
    taken = take_back(theirs.entries(), theirs, machine, log, node=node, force=force, refuse=refuse)
    theirs.close()
    for text in taken.left:
        log(f"left alone: {text}", level="warning")
    outcome: Outcome = "failed" if taken.left else "changed" if taken.undone else "unchanged"
    text = f"left alone: {'; '.join(taken.left)}" if taken.left else ""
    narrator.tell("finished", text, step="undo", parent=opened, outcome=outcome)
    step = StepResult("undo", f"take back run {undone.id}", outcome, text=text)
    return Result((step,), "", tuple(dict.fromkeys(taken.lasting)))


def _unconsented(machine: Machine, consent: Collection[str], inverse: Primitive) -> str:
    interrupt = interrupt_of(inverse)
    hit = machine.affected(interrupt) if interrupt is not None and interrupt not in consent else ()
    named = ", ".join(hit[:5])
    return f"{interrupt} pending: it would hit {named}; allow it with --yes-interrupt={interrupt}" if hit else ""


def settle_cut_undos(places: Places, undone: str, machine: Machine) -> None:
    """Settles the journals of earlier undo runs of the same run that were cut."""
    for run in all_runs(places):
        if run.kind == "undo" and run.about.get("undoes") == undone and run.result() is None:
            settle(journal_of(run), machine)
