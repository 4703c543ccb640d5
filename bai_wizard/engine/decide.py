"""What an undo does with each operation of a run, decided for all of them before anything is changed.

An operation is undone as far as its result is still ours. An operation that cannot be undone also keeps those that
must not be undone without it: a volume is not unmounted while its line stays in fstab, and an account is not removed
while its home directory stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.predicted import ON_FILE_SYSTEM, PredictedNode
from bai_wizard.core.state import Account, Group, Key, State, Tree, is_below
from bai_wizard.engine.assess import Shared, Verdict, assess, not_shared
from bai_wizard.engine.journal import Entry
from bai_wizard.resources.files import PathOperation, RemovePath, WriteFile
from bai_wizard.resources.images import RemoveImages
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.trees import RemoveTree
from bai_wizard.resources.units import ReloadUnits
from bai_wizard.resources.users import RemoveGroup, RemoveUser


class _Kept(Struct, frozen=True):
    """Why an entry is kept because of another one; `is_conflict` distinguishes `conflict` from `stays`."""

    reason: str
    is_conflict: bool


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Newest first; operations that must come last (restarts) at the end, once each, after systemd's reload."""
    live = [entry for entry in reversed(entries) if entry.status in ("done", "failed", "left")]
    first = [entry for entry in live if not entry.operation.undo_last]
    last: dict[tuple[Key, ...], Entry] = {}
    for entry in live:
        if entry.operation.undo_last:
            last.setdefault(entry.operation.keys(), entry)
    return [*first, *sorted(last.values(), key=lambda entry: not isinstance(entry.operation, ReloadUnits))]


def decide(
    ordered: Sequence[Entry],
    machine: Machine,
    *,
    force: bool = False,
    shared: Shared = not_shared,
    failed: Mapping[int, str] | None = None,
) -> tuple[list[Verdict], PredictedNode]:
    """The verdict on each entry, in this order, and the predicted node afterwards.

    `failed`: entries whose undo was tried and failed, with the reason.
    """
    kept = {number: _Kept(reason, True) for number, reason in (failed or {}).items()}
    gone = {entry.inverse.name for entry in ordered if isinstance(entry.inverse, RemoveUser)}
    seen = _Seen(machine)
    while True:
        predicted = PredictedNode(seen)
        verdicts = [_decided(entry, predicted, machine, kept, gone, force=force, shared=shared) for entry in ordered]
        added = _dependents(verdicts, predicted, kept, force=force)
        leaving = {verdict.inverse.name for verdict in verdicts if isinstance(verdict.inverse, RemoveUser)}
        if not added and leaving == gone:
            return verdicts, predicted
        kept |= added
        gone &= leaving


class _Seen(NodeView):
    """The node, with each read cached: fingerprinting trees is slow."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._states: dict[Key, State | None] = {}
        self._trees: dict[tuple[str, tuple[str, ...]], Tree | None] = {}

    def state(self, key: Key) -> State | None:
        if key not in self._states:
            self._states[key] = self._machine.state(key)
        return self._states[key]

    def names(self, directory: str) -> tuple[str, ...]:
        return self._machine.names(directory)

    def accounts(self) -> tuple[Account, ...]:
        return self._machine.accounts()

    def groups(self) -> tuple[Group, ...]:
        return self._machine.groups()

    def candidate(self, package: str) -> str | None:
        return self._machine.candidate(package)

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        if (path, parts) not in self._trees:
            self._trees[path, parts] = self._machine.tree_without(path, parts)
        return self._trees[path, parts]

    def changed_at(self, path: str) -> float:
        return self._machine.changed_at(path)


def _decided(
    entry: Entry,
    predicted: PredictedNode,
    machine: Machine,
    kept: Mapping[int, _Kept],
    gone: set[str],
    *,
    force: bool,
    shared: Shared,
) -> Verdict:
    if entry.number in kept:
        result = kept[entry.number]
        if result.is_conflict:
            return Verdict(entry, None, conflict=result.reason)
        return Verdict(entry, None, stays=result.reason)
    verdict = assess(entry, predicted, force=force, shared=shared, gone=gone)
    if verdict.inverse is not None:
        verdict = _refused_by_the_node(verdict, verdict.inverse, predicted, machine)
    if verdict.inverse is not None:
        try:
            predicted.predict(verdict.inverse, entry.step)
        except KnownAfterApply:
            # Visible once nothing is mounted over it. Until then, assume that it is what this run left there.
            if isinstance(verdict.inverse, PathOperation | RemoveTree):
                left = {key: entry.before.get(key) for key in verdict.inverse.keys()}
                predicted.assume(verdict.inverse.after(left), entry.step)
    return verdict


def _refused_by_the_node(verdict: Verdict, inverse: Operation, predicted: NodeView, machine: Machine) -> Verdict:
    """Report a removal that would fail on the node as a conflict in advance."""
    if isinstance(inverse, RemoveImages):
        refusals = {reference: _refusal(RemoveImages((reference,)), machine) for reference in inverse.references}
        free = tuple(reference for reference, refusal in refusals.items() if not refusal)
        lines = [verdict.conflict, *(f"left unchanged: {refusal}" for refusal in refusals.values() if refusal)]
        left = RemoveImages(free) if free else None
        return replace(verdict, inverse=left, conflict="; ".join(text for text in lines if text))
    try:
        if inverse.is_satisfied({key: predicted.state(key) for key in inverse.keys()}):
            return verdict
    except KnownAfterApply:
        return verdict
    except StateUnknown as error:
        return replace(verdict, inverse=None, conflict=str(error))
    refusal = _refusal(inverse, machine) or inverse.refusal(predicted)
    return replace(verdict, inverse=None, conflict=refusal) if refusal else verdict


def _refusal(inverse: Operation, machine: Machine) -> str:
    try:
        return machine.refusal(inverse)
    except StateUnknown as error:
        return str(error)


def reassess(
    entry: Entry, machine: Machine, gone: set[str], *, force: bool = False, shared: Shared = not_shared
) -> Verdict:
    """The verdict on the current node, just before the entry is undone."""
    verdict = assess(entry, machine, force=force, shared=shared, gone=gone)
    if verdict.inverse is None:
        return verdict
    return _refused_by_the_node(verdict, verdict.inverse, machine, machine)


def goes_with(inverse: Operation, following: Verdict | None, machine: Machine) -> bool:
    """Whether `inverse` removes an account whose group of the same name is removed right after it.

    Both are then removed in one operation, provided that nothing else currently needs the group.
    """
    group = following.inverse if following is not None else None
    if not isinstance(inverse, RemoveUser) or not isinstance(group, RemoveGroup) or group.name != inverse.name:
        return False
    predicted = PredictedNode(machine)
    predicted.predict(inverse, "")
    assert following is not None
    verdict = assess(following.entry, predicted)
    return verdict.inverse == group and machine.state(group.keys()[0]) is not None


def _dependents(
    verdicts: Sequence[Verdict], predicted: PredictedNode, known: Mapping[int, _Kept], *, force: bool
) -> dict[int, _Kept]:
    """The entries that must not be undone because another one is not."""
    result: dict[int, _Kept] = {}

    def keep(verdict: Verdict, reason: str, *, is_conflict: bool) -> None:
        if verdict.inverse is not None and verdict.entry.number not in known:
            result.setdefault(verdict.entry.number, _Kept(reason, is_conflict))

    for verdict in verdicts:
        if verdict.conflict and isinstance(verdict.entry.inverse, SetMount):
            for other in verdicts:
                names = [key.name for key in _keys_of(other) if key.kind in ON_FILE_SYSTEM]
                if other.entry.number < verdict.entry.number and any(
                    is_below(name, verdict.entry.inverse.target) for name in names
                ):
                    keep(other, f"it is under the mount: {verdict.conflict}", is_conflict=True)
    mounting = {verdict.entry.step for verdict in verdicts if isinstance(verdict.entry.inverse, SetMount)}
    for verdict in verdicts:
        if verdict.conflict and verdict.entry.step in mounting:
            for other in verdicts:
                if other.entry.step == verdict.entry.step and not other.entry.operation.undo_last:
                    keep(other, f"kept with the rest of this step: {verdict.conflict}", is_conflict=True)
        if verdict.conflict and isinstance(verdict.inverse, WriteFile):
            for other in verdicts:
                path = _created(other)
                if path and path.encode() in verdict.inverse.content:
                    keep(other, f"{path} is named in {verdict.inverse.path}, which is kept", is_conflict=True)
        if isinstance(verdict.entry.inverse, RemoveUser):
            _keep_account(verdict, verdict.entry.inverse, verdicts, predicted, keep, force=force)
    return result


def _created(verdict: Verdict) -> str:
    """The path of a file or tree that this run created and that would be removed."""
    inverse = verdict.inverse
    return inverse.path if isinstance(inverse, RemovePath | RemoveTree) and len(inverse.path) > 1 else ""


def _keep_account(
    verdict: Verdict,
    inverse: RemoveUser,
    verdicts: Sequence[Verdict],
    predicted: PredictedNode,
    keep: Callable[..., None],
    *,
    force: bool,
) -> None:
    """Keep or remove an account and its home together."""
    now = verdict.entry.after.get(Key("user", inverse.name))
    if not isinstance(now, Account):
        return
    if verdict.conflict:
        for other in verdicts:
            if any(is_below(key.name, now.home) for key in _paths(other)):
                keep(other, f"the account {inverse.name} stays: {verdict.conflict}", is_conflict=True)
        return
    for other in verdicts:
        stays = other.stays or other.conflict
        made_home = isinstance(other.entry.inverse, RemovePath) and other.entry.inverse.path == now.home
        if not stays or not (made_home or (other.conflict and _is_tree_of(other.entry.inverse, now))):
            continue
        if not force:
            keep(verdict, f"account {inverse.name} still has files: {stays}", is_conflict=bool(other.conflict))


def _keys_of(verdict: Verdict) -> tuple[Key, ...]:
    return verdict.inverse.keys() if verdict.inverse is not None else ()


def _paths(verdict: Verdict) -> tuple[Key, ...]:
    inverse = verdict.inverse
    return inverse.keys() if isinstance(inverse, PathOperation | RemoveTree) else ()


def _is_tree_of(inverse: Operation | None, account: Account) -> bool:
    return isinstance(inverse, RemoveTree) and is_below(inverse.path, account.home)
