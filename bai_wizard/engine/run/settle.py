"""After a crash: an intent without an end is settled by comparing the node with both fingerprints."""

from __future__ import annotations

from bai_wizard.core.errors import CannotTell, StepFailed
from bai_wizard.core.machine import Machine
from bai_wizard.core.state import States, Unpredictable, matches
from bai_wizard.engine.run.journal import Entry, Journal


def settle(journal: Journal, machine: Machine) -> list[str]:
    """Gives every open intent its end; returns what was found, in words, for the log."""
    return [settle_one(entry, journal, machine) for entry in journal.entries() if entry.fate == "open"]


def settle_one(entry: Entry, journal: Journal, machine: Machine) -> str:
    """Gives one attempt that did not come to its end by itself (cut, or failed) its fate; in words."""
    subject = f"{entry.step}: {', '.join(key.name for key in entry.primitive.keys())}"
    try:
        machine.sweep(entry.primitive)
        now = _now(entry, machine)
        back = entry.primitive.way_back(entry.before, machine) if now != entry.before else ()
    except (StepFailed, CannotTell) as error:
        journal.settle(entry.number, "failed")
        return f"{subject} was cut, and how far it got cannot be told: {error}"
    predictable = any(not isinstance(state, Unpredictable) for state in entry.after.values())
    reached = predictable and all(matches(state, now[key]) for key, state in entry.after.items())
    if reached and (entry.primitive.at_once or not back):
        journal.settle(entry.number, "done", now)
        return f"{subject} had been done when the run was cut"
    if now == entry.before and predictable:
        journal.settle(entry.number, "void", now)
        return f"{subject} had not been done when the run was cut"
    if not back:
        journal.settle(entry.number, "failed", now)
        return f"{subject} was cut in the middle; it is done again"
    try:
        for primitive in back:
            machine.perform(primitive)
        now = _now(entry, machine)
    except (StepFailed, CannotTell) as error:
        journal.settle(entry.number, "failed", now)
        return f"{subject} is half done and could not be restored: {error}"
    journal.settle(entry.number, "void", now)
    return f"{subject} was half done when the run was cut; it is back as it was"


def _now(entry: Entry, machine: Machine) -> States:
    return {key: machine.state(key) for key in entry.primitive.keys()}
