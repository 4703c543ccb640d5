"""Run selection: what each run still holds on the node, and which run `undo` and `resume` select without an ID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import NodeView
from bai_wizard.engine.directory import RunDirectory, all_runs, damage_of
from bai_wizard.engine.durable import Damaged
from bai_wizard.engine.lock import StatePaths, is_running
from bai_wizard.engine.records import read_records
from bai_wizard.engine.recovery import damages_in, made_elsewhere, refusal, unknown_owner
from bai_wizard.locale import ntr, tr

WORDS = {
    0: "done",
    4: "failed",
    5: "waits for a reboot",
    6: "optional steps failed",
    130: "stopped",
}
# Messages about other runs that are shown; the rest are only counted.
MAX_TOLD = 5
# Operations that leave no state behind: undo repeats the newest of each at its end, so the others stay `done`.
REPEATED = ("restart-unit", "reload-units")


class Held(Struct, frozen=True):
    """What a run still holds on the node, according to its journal.

    `changes` counts the operations that can still be undone, `permanent` those that undo never undoes, `undone` those
    that it has undone. `keys` are what `changes` affect. `unknown` says which part of the journal is damaged; empty
    if none is.
    """

    changes: int = 0
    permanent: int = 0
    undone: int = 0
    keys: frozenset[tuple[str, str]] = frozenset()
    unknown: str = ""

    def __bool__(self) -> bool:
        return bool(self.changes or (self.unknown and not self.undone))

    def __str__(self) -> str:
        if self.unknown and not self.changes and not self.undone:
            return tr("what it holds cannot be determined: {reason}", reason=self.unknown)
        damaged = tr(", and its records are damaged: {reason}", reason=self.unknown) if self.unknown else ""
        if self.changes:
            return ntr("holds {count} change", "holds {count} changes", self.changes) + damaged
        kept = ""
        if self.permanent:
            kept = ntr(
                "its {count} permanent change cannot be undone",
                "its {count} permanent changes cannot be undone",
                self.permanent,
            )
        message = tr("undone") if self.undone else "" if kept else tr("changed nothing")
        return ", ".join(part for part in (message, kept) if part) + damaged


def held_by(run: RunDirectory) -> Held:
    """Read the journal without its backups."""
    records = read_records(run.journal)
    intents: dict[int, dict[str, Any]] = {}
    statuses: dict[int, dict[str, Any]] = {}
    for record in records.records:
        (intents if record["what"] == "intent" else statuses)[record["n"]] = record
    damages = damages_in(run, records)
    more = len(damages) - MAX_TOLD
    unknown = "; ".join([*damages[:MAX_TOLD], *([f"{more} more"] if more > 0 else [])])
    if not intents and not unknown and (changed := _told_to_have_changed(run)):
        unknown = ntr(
            "{journal} has no records, though {count} step made changes",
            "{journal} has no records, though {count} steps made changes",
            changed,
            journal=run.journal,
        )
    changes = permanent = undone = 0
    following: dict[bool, set[str]] = {True: set(), False: set()}
    keys: set[tuple[str, str]] = set()
    for number, intent in intents.items():
        status = str(statuses[number]["what"]) if number in statuses else "open"
        operation = intent.get("primitive")
        operation = operation if isinstance(operation, dict) else {}
        is_repeated = operation.get("kind") in REPEATED or operation.get("undo_last") is True
        if status == "void":
            continue
        if is_repeated and status != "left":
            if intent.get("inverse") is not None:
                following[status == "undone"].add(str([operation.get(key) for key in ("kind", "unit", "argv")]))
            continue
        if status == "undone":
            undone += 1
        elif intent.get("inverse") is None:
            permanent += 1
        else:
            changes += 1
            keys |= _keys(intent.get("before"))
    if undone and not changes:
        # An undo may end after it has restored the files, before the restarts and rebuilds that follow, once each.
        changes = len(following[False] - following[True])
    return Held(changes, permanent, undone, frozenset(keys), unknown)


def _told_to_have_changed(run: RunDirectory) -> int:
    """How many steps made changes, according to the result of the last attempt."""
    try:
        return int((run.result() or {}).get("counts", {}).get("changed", 0))
    except Damaged:
        return 0


def _keys(rows: object) -> set[tuple[str, str]]:
    rows = rows if isinstance(rows, list) else []
    return {(str(row[0]), str(row[1])) for row in rows if isinstance(row, list) and len(row) > 1}


class Choice(Struct, frozen=True):
    """The selected run, and messages saying why, what was skipped and what else holds changes.

    `run`: None if there is nothing to do.
    """

    run: RunDirectory | None
    messages: tuple[str, ...]


def state_of(paths: StatePaths, run: RunDirectory) -> str:
    """`running`, `interrupted`, `damaged`, or how the run ended."""
    if damage_of(run):
        return "damaged"
    result = run.result()
    if result is not None:
        return WORDS.get(result["code"], f"ended with {result['code']}")
    return "running" if is_running(paths, run.id) else "interrupted"


def choose_undo(paths: StatePaths, view: NodeView, *, to_show: bool = False, force: bool = False) -> Choice:
    """The newest apply run of this machine and release that still holds changes.

    `to_show`: the undo is only shown, so the run may be of another release. `force`: its owner may be unknown.
    Raises PreflightError if there are no runs, if only runs of another machine or release hold changes, and for a run
    that may be newer but whose kind cannot be determined.
    """
    runs = [run for run in reversed(all_runs(paths)) if run.kind_told() != "undo"]
    if not runs:
        raise PreflightError("no runs on this node yet")
    passed: list[str] = []
    foreign: list[str] = []
    for index, run in enumerate(runs):
        held = held_by(run)
        if run.kind_told() is None:
            raise PreflightError(
                f"it is not clear which run to undo, because {damage_of(run)}; specify the run: bai-wizard undo RUN"
            )
        shown = to_show and not unknown_owner(run)
        if held and (why := made_elsewhere(run, view) if shown else refusal(run, view, "undo", force=force)):
            foreign.append(why)
        elif held:
            message = f"selected run {run.id} ({state_of(paths, run)}), the newest that holds changes ({held})"
            return Choice(run, (message, *capped(passed), *capped(foreign), *_older(paths, view, runs[index + 1 :])))
        else:
            passed.append(f"skipped run {run.id}, which is newer: {held}")
    if foreign:
        raise PreflightError("\n".join(capped(foreign)))
    return Choice(None, ("nothing is left to undo", *capped([f"run {run.id}: {held_by(run)}" for run in runs])))


def capped(sentences: Sequence[str]) -> list[str]:
    """The first messages, and how many more there are."""
    more = len(sentences) - MAX_TOLD
    if more <= 0:
        return list(sentences)
    rest = ntr("and {count} more run; see: bai-wizard runs", "and {count} more runs; see: bai-wizard runs", more)
    return [*sentences[:MAX_TOLD], rest]


def _older(paths: StatePaths, view: NodeView, runs: Sequence[RunDirectory]) -> list[str]:
    """A message for each of `runs`, which are older, that holds changes or cannot be read."""
    lines = []
    for run in runs:
        if run.kind_told() is None:
            lines.append(f"run {run.id} may be older or newer; {held_by(run)}; {damage_of(run)}")
        elif held := held_by(run):
            todo = refusal(run, view, "undo") or f"to undo it as well: bai-wizard undo {run.id}"
            lines.append(f"run {run.id}, which is older ({state_of(paths, run)}), {held}; {todo}")
    return capped(lines)


def newer_on_the_same(paths: StatePaths, run: RunDirectory) -> list[str]:
    """A message for each newer apply run that holds changes to something that `run` also changed, newest first."""
    keys = held_by(run).keys
    lines = []
    for each in reversed(all_runs(paths)):
        if each.order() <= run.order():
            break
        shared = sorted({name for _, name in keys & held_by(each).keys}) if each.kind_told() == "apply" else []
        if shared:
            names = ", ".join(shared[:3]) + (f" and {len(shared) - 3} more" if len(shared) > 3 else "")
            lines.append(f"run {each.id}, which is newer, changed {names} as well: undo that run first")
    return capped(lines)


def choose_resume(paths: StatePaths, view: NodeView) -> Choice:
    """The newest run of this machine and release that did not finish and has not been undone since.

    An undo run counts as finished even if it left something unchanged; after a newer apply run it is not resumed.
    Raises PreflightError if there are no runs, or if only runs of another machine or release did not finish.
    """
    runs = all_runs(paths)
    if not runs:
        raise PreflightError("no runs on this node yet")
    passed: list[str] = []
    foreign: list[str] = []
    undone: set[str] = set()
    replaced = ""
    for run in reversed(runs):
        if damage := damage_of(run):
            passed.append(f"skipped run {run.id}, which cannot be read: {damage}")
            continue
        state, code = state_of(paths, run), (run.result() or {}).get("code")
        if run.kind == "undo" and code == 0:
            undone.add(run.metadata["undoes"])
        if run.kind == "apply" and code == 0:
            replaced = replaced or run.id
        if run.kind == "undo" and code == 4:
            retry = f"bai-wizard undo {run.metadata['undoes']}"
            passed.append(f"skipped run {run.id} ({run.kind}, {state}); to undo the rest: {retry}")
        elif code in (0, 6):
            passed.append(f"skipped run {run.id} ({run.kind}, {state})")
        elif (run.metadata["undoes"] or run.id) in undone and not (run.kind == "apply" and held_by(run)):
            passed.append(f"skipped run {run.id} ({run.kind}, {state}), which has since been undone")
        elif run.kind == "undo" and replaced:
            passed.append(
                f"skipped run {run.id} ({run.kind}, {state}), because run {replaced} has since been applied"
            )
        elif why := _not_resumable(paths, run, view):
            foreign.append(why)
        else:
            message = f"selected run {run.id} ({run.kind}, {state}), the newest that did not finish"
            return Choice(run, (message, *capped(passed), *capped(foreign)))
    if foreign:
        raise PreflightError("\n".join(capped(foreign)))
    return Choice(None, ("no run to resume", *capped(passed)))


def _not_resumable(paths: StatePaths, run: RunDirectory, view: NodeView) -> str:
    """Why a run must not be resumed here; for an undo run, also if the run that it undoes no longer exists."""
    if why := refusal(run, view, "resume"):
        return why
    if run.kind == "undo" and not (paths.runs / run.metadata["undoes"]).is_dir():
        return f"run {run.id} undoes run {run.metadata['undoes']}, which no longer exists"
    return ""


# Exit codes of runs after which the node is expected to be as their settings say, apart from optional steps.
FINISHED = (0, 5, 6)


def not_in_effect(paths: StatePaths, run: RunDirectory, view: NodeView) -> str:
    """Why this node is not expected to be as the settings of an apply run say; empty if it is."""
    if damage := damage_of(run):
        return f"run {run.id} is damaged: {damage}"
    if elsewhere := made_elsewhere(run, view):
        return elsewhere
    if (run.result() or {}).get("code") not in FINISHED:
        return f"run {run.id} did not finish ({state_of(paths, run)}); see: bai-wizard resume {run.id}"
    for other in all_runs(paths):
        if other.kind_told() == "undo" and not damage_of(other) and other.metadata["undoes"] == run.id:
            return f"run {run.id} has been undone"
    try:
        settings = run.settings()
    except Damaged as error:
        return f"run {run.id} is damaged: {error}"
    if settings.get("fix"):
        return f"run {run.id} applied a fix of the doctor, not answers"
    return "" if settings.get("pages") else f"run {run.id} has no pages to compare"


def choose_in_effect(paths: StatePaths, view: NodeView) -> RunDirectory | None:
    """The newest apply run whose settings this node is expected to have; None without one."""
    runs = [run for run in reversed(all_runs(paths)) if run.kind_told() == "apply"]
    return next((run for run in runs if not not_in_effect(paths, run, view)), None)
