"""After a crash: an intent without an end is settled by comparing the node with both fingerprints."""

from __future__ import annotations

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.machine import Machine
from bai_wizard.core.primitives.files import PathPrimitive
from bai_wizard.core.state import Unpredictable, matches
from bai_wizard.engine.run.journal import Entry, Journal


def settle(journal: Journal, machine: Machine) -> list[str]:
    """Gives every open intent its end; returns what was found, in words, for the log."""
    told = []
    for entry in journal.entries():
        if entry.fate == "open":
            told.append(_settle_one(entry, journal, machine))
    return told


def _settle_one(entry: Entry, journal: Journal, machine: Machine) -> str:
    subject = f"{entry.step}: {', '.join(key.name for key in entry.primitive.keys())}"
    machine.sweep(entry.primitive)
    now = {key: machine.state(key) for key in entry.primitive.keys()}
    predictable = any(not isinstance(state, Unpredictable) for state in entry.after.values())
    if predictable and all(matches(state, now[key]) for key, state in entry.after.items()):
        journal.settle(entry.number, "done", now)
        return f"{subject} had been done when the run was cut"
    if now == entry.before and predictable:
        journal.settle(entry.number, "void", now)
        return f"{subject} had not been done when the run was cut"
    if isinstance(entry.primitive, PathPrimitive) and entry.inverse is not None:
        # Neither old nor new: a file written in place, or owner and mode of a directory, cut in the middle.
        try:
            machine.perform(entry.inverse)
        except StepFailed as error:
            journal.settle(entry.number, "failed", now)
            return f"{subject} is half done and could not be restored: {error}"
        journal.settle(entry.number, "void", {key: machine.state(key) for key in entry.primitive.keys()})
        return f"{subject} was half done when the run was cut; it is back as it was"
    journal.settle(entry.number, "failed", now)
    return f"{subject} was cut in the middle; it is done again"
