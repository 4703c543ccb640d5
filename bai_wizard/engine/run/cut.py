"""Runs that were cut: what they left half done is settled before anybody plans over it."""

from __future__ import annotations

from bai_wizard.core.machine import Machine
from bai_wizard.engine.run.directory import RunDirectory, all_runs
from bai_wizard.engine.run.durable import read_lines
from bai_wizard.engine.run.lock import hold_lock, is_held
from bai_wizard.engine.run.places import Places


def cut_runs(places: Places) -> list[RunDirectory]:
    """Runs without an end that have a change open. While a run is alive there are none: it is the lock's holder."""
    if is_held(places):
        return []
    return [run for run in all_runs(places) if run.result() is None and _is_open(run)]


def settle_cut_runs(places: Places, machine: Machine) -> list[str]:
    """Gives every open intent of runs that were cut its end, under the lock; in words. Raises LockHeld.

    Whether such a run is continued or taken back stays the operator's choice.
    """
    cut = cut_runs(places)
    if not cut:
        return []
    from bai_wizard.engine.run.settle import settle
    from bai_wizard.engine.run.undo import journal_of

    told = []
    for run in cut:
        with hold_lock(places, {"run": run.id, "unit": "", "page": "", "since": ""}):
            try:
                told += [f"run {run.id} was cut; {text}" for text in settle(journal_of(run), machine)]
            except ValueError as error:
                # Damaged, or of another version of the wizard: that must not keep everybody else from their runs.
                told.append(f"run {run.id} was cut, and its journal cannot be read: {error}")
    return told


def _is_open(run: RunDirectory) -> bool:
    """Whether the journal has an intent without an end; its contents are not looked at."""
    begun: set[int] = set()
    ended: set[int] = set()
    try:
        for record in read_lines(run.journal):
            (begun if record["what"] == "intent" else ended).add(record["n"])
    except ValueError:
        return True
    return bool(begun - ended)
