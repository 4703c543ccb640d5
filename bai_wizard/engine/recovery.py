"""Crash recovery, interrupted runs, and the machine that a run belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from posixpath import dirname, join, normpath
from typing import Literal

from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, PreflightError, StateUnknown, StepFailed
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.parse import os_release
from bai_wizard.core.predicted import PredictedMachine
from bai_wizard.core.state import States, Unpredictable, matches
from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of, journal_of
from bai_wizard.engine.durable import Damaged
from bai_wizard.engine.journal import Entry, Journal, Status
from bai_wizard.engine.lock import StatePaths, hold_lock, is_held
from bai_wizard.engine.records import Records, open_changes, read_records, reverted

MAX_LINKS = 8
What = Literal["undo", "resume"]


def records_of(view: NodeView) -> dict[str, str]:
    """What a new run records about the node; an empty text if it cannot be determined."""
    return {"machine": machine_id(view), "release": release(view)}


def machine_id(view: NodeView) -> str:
    """machine-id(5), 32 hexadecimal digits; empty if it is missing, empty, `uninitialized` or malformed."""
    result = _text(view, "/etc/machine-id").strip().lower()
    return result if re.fullmatch("[0-9a-f]{32}", result) and result.strip("0") else ""


def release(view: NodeView) -> str:
    """ID and VERSION_ID of os-release(5), as in `debian 12`; only ID if the release has no number."""
    text = _text(view, "/etc/os-release") or _text(view, "/usr/lib/os-release")
    values = os_release(text)
    return f"{values.get('ID', '')} {values.get('VERSION_ID', '')}".strip()


def unknown_owner(run: RunDirectory) -> str:
    """Why the machine of a run cannot be determined; empty if it can, or was not recorded."""
    if run.owner() is not None:
        return ""
    return f"the records of run {run.id} that name its machine and release are damaged"


def made_elsewhere(run: RunDirectory, view: NodeView) -> str:
    """Why a run does not belong to this machine; empty if it does, or if its machine was not recorded."""
    recorded = _recorded(run, "machine")
    if not recorded:
        return ""
    here = machine_id(view)
    if not here:
        message = f"run {run.id} belongs to one machine, and /etc/machine-id does not identify this one"
    else:
        message = f"run {run.id} was made on another machine (its machine-id differs)"
    return "" if here == recorded else f"{message}: it can be undone and resumed only there"


def of_other_release(run: RunDirectory, view: NodeView) -> str:
    """Why a run does not belong to the installed release; empty if it does, or if its release was not recorded."""
    recorded = _recorded(run, "release")
    if not recorded:
        return ""
    here = release(view)
    if here == recorded:
        return ""
    now = f"this node now runs {here}" if here else "/etc/os-release does not name the release of this node"
    return f"run {run.id} was made on {recorded}, and {now}"


def refusal(run: RunDirectory, view: NodeView, what: What, *, force: bool = False) -> str:
    """Why a run must not be undone or resumed here; empty if it may be.

    `force`: a run may be undone although its owner is unknown.
    """
    if unknown := unknown_owner(run):
        if what == "undo":
            todo = f"if it was made on this installation, run: bai-wizard undo {run.id} --force"
            return "" if force else f"{unknown}, so it is not undone; {todo}"
        return f"{unknown}, so it is not resumed; start a new run"
    if elsewhere := made_elsewhere(run, view):
        return elsewhere
    if other := of_other_release(run, view):
        if what == "undo":
            todo = f"`bai-wizard undo {run.id} --plan` shows what would differ"
            return f"{other}: runs cannot be undone across releases; {todo}"
        return f"{other}: runs cannot be resumed across releases; start a new run"
    return ""


def refuse_foreign(run: RunDirectory, view: NodeView, what: What, *, force: bool = False) -> None:
    """Raise PreflightError with the `refusal`."""
    if message := refusal(run, view, what, force=force):
        raise PreflightError(message)


def doubt(run: RunDirectory, host: str) -> str:
    """Why a run without a recorded machine (0.1.0) may be from another one; empty if nothing suggests that."""
    if _recorded(run, "machine"):
        return ""
    if unknown := unknown_owner(run):
        return f"{unknown}; it is treated as a run of this node because of --force"
    try:
        made_on = str(run.metadata.get("host", ""))
    except Damaged:
        try:
            made_on = run.plan().host
        except PreflightError:
            return f"run {run.id} does not record its machine, and its metadata is damaged"
    if made_on in ("", host):
        return ""
    return f"run {run.id} does not record its machine; it was made on host {made_on}, and this is host {host}"


def _recorded(run: RunDirectory, name: str) -> str:
    """Empty in runs of 0.1.0, which recorded neither, and if the record of it is damaged."""
    value = (run.owner() or {}).get(name)
    return value if isinstance(value, str) else ""


def _text(view: NodeView, path: str) -> str:
    """The text of a file of the node, following links; empty if it cannot be read."""
    for _ in range(MAX_LINKS):
        try:
            entry = view.entry(path)
        except StateUnknown:
            return ""
        if entry is None or entry.target is None:
            return entry.content.decode("utf-8", "replace") if entry is not None and entry.content else ""
        path = normpath(join(dirname(path), entry.target))
    return ""


# The maximum number of names listed for one operation.
MAX_NAMES = 3
Record = Callable[[int, Status, States | None], None]


def recover(journal: Journal, machine: Machine) -> list[str]:
    """Resolve every open intent; returns messages for the log."""
    return [recover_entry(entry, journal.finish, machine) for entry in journal.entries() if entry.status == "open"]


def predict_recovered(entries: Iterable[Entry], machine: PredictedMachine) -> tuple[list[Entry], list[str]]:
    """The journal entries as `recover` would leave them, and its messages. Changes nothing."""
    result: list[Entry] = []
    lines: list[str] = []
    for entry in entries:
        if entry.status != "open":
            result.append(entry)
            continue
        ends: list[tuple[Status, States | None]] = []
        value = recover_entry(entry, lambda _, status, after, ends=ends: ends.append((status, after)), machine)  # type: ignore[misc]
        lines.append(value)
        status, after = ends[-1]
        result.append(replace(entry, status=status, after=entry.after if after is None else after))
    return result, lines


def recover_entry(entry: Entry, record: Record, machine: Machine, *, failed: bool = False) -> str:
    """Determine the status of one attempt that was interrupted or has `failed`; returns a message.

    The message is empty for a failed attempt that changed nothing: its own error message is sufficient.
    """
    names = list(dict.fromkeys(key.name for key in entry.operation.keys()))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    subject = f"{entry.step}: {', '.join(names[:MAX_NAMES])}{more}"
    ended, when = ("failed", "when it failed") if failed else ("was interrupted", "when the run was interrupted")
    try:
        machine.sweep(entry.operation)
        now = _now(entry, machine)
        back = entry.operation.recovery_steps(entry.before, machine) if now != entry.before else ()
    except (StepFailed, StateUnknown, KnownAfterApply) as error:
        record(entry.number, "failed", None)
        return f"{subject} {ended}, and how far it got cannot be determined: {error}"
    predictable = any(not isinstance(state, Unpredictable) for state in entry.after.values())
    reached = predictable and all(matches(state, now[key]) for key, state in entry.after.items())
    if reached and (entry.operation.is_atomic or not back):
        record(entry.number, "done", now)
        return f"{subject} was complete {when}"
    if now == entry.before and predictable:
        if entry.operation.may_happen_later():
            record(entry.number, "failed", None)  # undo reverts it if the predicted state is reached after all
        else:
            record(entry.number, "void", now)
        return "" if failed else f"{subject} had not been changed {when}"
    if not back:
        record(entry.number, "failed", now)
        return f"{subject} {ended} partway and may be incomplete"
    try:
        for operation in back:
            machine.apply(operation)
        now = _now(entry, machine)
    except (StepFailed, StateUnknown, KnownAfterApply) as error:
        record(entry.number, "failed", now)
        return f"{subject} is incomplete and could not be restored: {error}"
    record(entry.number, "void", now)
    return f"{subject} was incomplete {when}; it was restored"


def _now(entry: Entry, machine: Machine) -> States:
    # By the recorded keys: an older version may have used other names for an action without a state.
    return {key: machine.state(key) for key in entry.before}


def interrupted_runs(paths: StatePaths) -> list[RunDirectory]:
    """Runs without an end that have an open change. Empty while a run is alive, because that run holds the lock."""
    if is_held(paths):
        return []
    return [run for run in all_runs(paths) if is_cut(run)]


def is_cut(run: RunDirectory) -> bool:
    """Whether a run has no end and an open change. A run in progress looks the same."""
    return not damage_of(run) and run.result() is None and bool(open_changes(read_records(run.journal).records))


def damages_of(run: RunDirectory) -> list[str]:
    """What is damaged or missing in the records of a run."""
    damages = damages_in(run, read_records(run.journal))
    damage = damage_of(run)
    return [damage, *damages] if damage and not any("result.json" in text for text in damages) else damages


def damages_in(run: RunDirectory, result: Records) -> list[str]:
    """What is damaged or missing in a journal that was read. Its backups must exist, but are not read."""
    damages = list(result.damages)
    try:
        existing = set(os.listdir(run.backup))
    except OSError:
        existing = set()
    of_no_use = reverted(result.records)
    needed = {name for number, names in result.backups.items() if number not in of_no_use for name in names}
    if gone := len(needed - existing):
        damages.append(f"{gone} of {len(needed)} backups {'is' if gone == 1 else 'are'} missing")
    return damages


def damaged_runs(paths: StatePaths) -> list[str]:
    """A line for each run with damaged records. Such a run does not prevent new runs."""
    lines = []
    for run in all_runs(paths):
        if damages := damages_of(run):
            more = f"; {len(damages) - 1} more" if len(damages) > 1 else ""
            lines.append(f"run {run.id} is damaged: {damages[0]}{more}")
    return lines


def recover_interrupted_runs(paths: StatePaths, machine: Machine) -> list[str]:
    """Resolve every open intent of interrupted runs, under the lock; returns messages. Raises LockHeld.

    Whether such a run is resumed or undone remains the operator's choice.
    """
    cut, lines = interrupted_runs(paths), damaged_runs(paths)
    if not cut:
        return lines
    if tool := machine.package_tool():
        # What it changes meanwhile would be mistaken for changes made by the run.
        return [*lines, f"run {cut[0].id} was interrupted, and its package tool is still running: {tool}"]
    for run in cut:
        if foreign := refusal(run, machine, "resume"):
            lines.append(f"left unchanged: {foreign}")
            continue
        with hold_lock(paths, run.id):
            lines += _settled(run, machine)
    return lines


def settle_other_runs(paths: StatePaths, run: RunDirectory, machine: Machine) -> list[str]:
    """Do what `recover_interrupted_runs` does, for the executor of `run`, which holds the lock.

    Damaged runs are not reported. All front ends plan over the recovered node; what they have not recovered
    themselves is recovered here.
    """
    lines = []
    for other in all_runs(paths):
        if other.id != run.id and is_cut(other) and not refusal(other, machine, "resume"):
            lines += _settled(other, machine)
    return lines


def _settled(run: RunDirectory, machine: Machine) -> list[str]:
    return [f"run {run.id} was interrupted; {text}" for text in recover(journal_of(run), machine)]


def predict_recovery(paths: StatePaths, machine: Machine) -> tuple[Machine, list[str]]:
    """Predict the node after `recover_interrupted_runs`, and its messages. Changes neither node nor records."""
    interrupted = [run for run in interrupted_runs(paths) if not refusal(run, machine, "resume")]
    if not interrupted or machine.package_tool():
        return machine, []
    predicted = PredictedMachine(machine)
    lines = []
    for run in interrupted:
        lines += [
            f"run {run.id} was interrupted; {text}"
            for text in predict_recovered(journal_of(run).entries(), predicted)[1]
        ]
    return predicted, lines
