"""Taking primitives back, newest first, only where the node still is what they left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bai_wizard.core.errors import CannotTell, NotYetKnown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Machine
from bai_wizard.core.primitives import Primitive, RestartUnit, SetUnit
from bai_wizard.core.state import Entry as PathEntry
from bai_wizard.core.state import Key, State, matches
from bai_wizard.core.step import Interrupt
from bai_wizard.core.view import NodeView
from bai_wizard.engine.run.journal import Entry, Journal
from bai_wizard.engine.run.node import JournalledNode

# Units whose stop is the end of containers.
DOCKER = ("docker.service", "docker.socket", "containerd.service")


@dataclass(frozen=True)
class Verdict:
    """What undo says of one entry: `conflict` is why it is left alone, empty when it can be taken back."""

    entry: Entry
    inverse: Primitive | None
    conflict: str = ""


@dataclass
class TakenBack:
    """What an undo came to. `left` are conflicts and failures, `lasting` what is never taken back by itself."""

    undone: int = 0
    left: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)


def assess(entry: Entry, view: NodeView) -> Verdict:
    """Whether one entry can be taken back, looking at the node (real or predicted) only."""
    if entry.inverse is None:
        return Verdict(entry, None)
    for key in entry.inverse.keys():
        if key.sort in ("restart", "command"):
            continue
        try:
            now = view.state(key)
        except CannotTell as error:
            return Verdict(entry, entry.inverse, f"{key.name}: {error}")
        except NotYetKnown:
            continue  # lies under a mount that is taken back first; it is judged when it can be seen
        if key in entry.after and not matches(entry.after[key], now) and now != entry.before.get(key):
            return Verdict(entry, entry.inverse, f"{key.name} was changed since: {_difference(key, entry, now)}")
    return Verdict(entry, entry.inverse)


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Newest first; those that must come last (restarts) at the end, once each."""
    live = [entry for entry in reversed(entries) if entry.fate in ("done", "failed", "left")]
    first = [entry for entry in live if not entry.primitive.undo_last]
    last: dict[tuple[Key, ...], Entry] = {}
    for entry in live:
        if entry.primitive.undo_last:
            last.setdefault(entry.primitive.keys(), entry)
    return [*first, *last.values()]


def interrupt_of(inverse: Primitive) -> Interrupt | None:
    """What taking something back may hit while somebody works on the node."""
    restarts = isinstance(inverse, RestartUnit) and inverse.unit in DOCKER
    stops = isinstance(inverse, SetUnit) and inverse.active is False and inverse.unit in DOCKER
    return "docker.restart" if restarts or stops else None


def allowed(inverse: Primitive) -> str:
    """Of what a failed step did nothing needs consent again."""
    return ""


def take_back(
    entries: Sequence[Entry],
    journal: Journal,
    machine: Machine,
    log: Log,
    *,
    node: JournalledNode | None = None,
    force: bool = False,
    refuse: Callable[[Primitive], str] = allowed,
) -> TakenBack:
    """Takes `entries` of `journal` back.

    With `node` the inverses are themselves journalled (an undo run). With `force`, what somebody edited since is
    taken back as well. `refuse` says why an inverse must not be carried out, right before it would be.
    """
    taken = TakenBack()
    for entry in in_order(entries):
        verdict = assess(entry, machine)
        if verdict.inverse is None:
            taken.lasting.append(f"{entry.step}: {lasting(entry)}")
            continue
        reason = ("" if force else verdict.conflict) or refuse(verdict.inverse)
        if not reason:
            try:
                _perform(verdict.inverse, machine, log, node)
            except (StepFailed, CannotTell) as error:
                reason = str(error)
        if reason:
            taken.left.append(f"{entry.step}: {reason}")
            journal.settle(entry.number, "left")
        else:
            taken.undone += 1
            journal.settle(entry.number, "undone")
    return taken


def lasting(entry: Entry) -> str:
    """Why something without an inverse stays."""
    return entry.primitive.lasting() or f"{entry.primitive.kind} cannot be taken back"


def _perform(inverse: Primitive, machine: Machine, log: Log, node: JournalledNode | None) -> None:
    for change in inverse.changes({key: machine.state(key) for key in inverse.keys()}):
        log(change.headline())
    if node is not None:
        node.do(inverse)
    elif not inverse.holds({key: machine.state(key) for key in inverse.keys()}):
        machine.perform(inverse, log)


def _difference(key: Key, entry: Entry, now: State | None) -> str:
    ours = entry.after.get(key)
    if isinstance(ours, PathEntry) and isinstance(now, PathEntry):
        from bai_wizard.core.primitives.files import path_change

        return path_change(key.name, ours, now).diff()
    return "it is not there any more" if now is None else "it is not what this run left"
