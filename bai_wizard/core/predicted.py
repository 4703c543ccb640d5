"""The predicted node: the states after the operations of a plan, on top of a view of the real node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import DependsOnBlocked, KnownAfterApply, StateUnknown
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed, HardwarePart, Machine, NodeView, Space
from bai_wizard.core.operation import Change, Operation, Scope, refuse_outside
from bai_wizard.core.state import (
    LISTS_KEY,
    UNPREDICTABLE,
    WITHOUT_STATE,
    Account,
    Entry,
    Group,
    Key,
    Mount,
    Package,
    State,
    States,
    Tree,
    Unpredictable,
    is_below,
    tree_key,
)

if TYPE_CHECKING:
    from bai_wizard.core.consent import Affected, Interrupt
    from bai_wizard.core.operation import Operation


# Kinds of key whose names are paths that a mount can hide.
ON_FILE_SYSTEM = ("file", "tree", "immutable")
# Kinds of key of objects that packages create.
CREATED_BY_PACKAGES = ("unit", "group")


class PredictedNode(NodeView):
    """Answers from predicted outcomes, and from `base` for everything else.

    Reading an object whose outcome could not be predicted raises KnownAfterApply with the step that changes it, and
    one that a blocked step would create raises DependsOnBlocked.
    """

    def __init__(self, base: NodeView) -> None:
        self._base = base
        self._predicted: dict[Key, State | Unpredictable | None] = {}
        self._predicted_by: dict[Key, str] = {}
        self._mounted_by: dict[str, str] = {}
        self._withheld: dict[Key, DependsOnBlocked] = {}

    def states(self, keys: tuple[Key, ...]) -> States:
        """Return the states of several keys."""
        return {key: self.state(key) for key in keys}

    def predict(
        self, operation: Operation, step: str, scope: Callable[[], tuple[Scope, ...]] | None = None
    ) -> tuple[Change, ...]:
        """Apply the outcome of `operation` to this view; return the changes, which are empty if it changes nothing.

        Raises StepBlocked for a change outside `scope`.
        """
        before = self.states(operation.keys())
        if operation.is_satisfied(before):
            return ()
        if scope is not None:
            refuse_outside(scope(), operation, before)
        for key, state in operation.after(before).items():
            if state != before[key]:
                self._predicted[key] = state
                self._predicted_by[key] = step
                if key.kind == "mount" and (isinstance(state, Mount) or isinstance(before[key], Mount)):
                    self._hide_below(key.name, step)
        return operation.changes(before)

    def assume(self, states: Mapping[Key, State | Unpredictable | None], step: str) -> None:
        """Add states to this view that cannot be read yet because a mount hides them."""
        self._predicted.update(states)
        self._predicted_by.update(dict.fromkeys(states, step))

    def leave_open(self, scope: Iterable[Scope], step: str) -> None:
        """Mark objects that a step with undetermined changes may create: units and groups created by packages."""
        for key in self._missing(scope):
            self._predicted[key], self._predicted_by[key] = UNPREDICTABLE, step

    def withhold(self, scope: Iterable[Scope], step: str, *, undetermined: bool) -> None:
        """Mark what a blocked step would have provided: units and groups created by packages, and package lists."""
        lists = [key for key in scope if isinstance(key, Key) and key.kind == LISTS_KEY.kind]
        for key in (*lists, *self._missing(scope)):
            self._withheld.setdefault(key, DependsOnBlocked(step, undetermined=undetermined))

    def _missing(self, scope: Iterable[Scope]) -> Iterator[Key]:
        for key in scope:
            if isinstance(key, Key) and key.kind in CREATED_BY_PACKAGES and key not in self._predicted:
                try:
                    exists = self._base.state(key) is not None
                except StateUnknown:
                    continue  # the step that needs it reports that
                if not exists:
                    yield key

    def saved(self) -> Callable[[], None]:
        """Return a function that reverts everything applied to the view from now on."""
        kept = dict(self._predicted), dict(self._predicted_by), dict(self._mounted_by)

        def restore() -> None:
            self._predicted, self._predicted_by, self._mounted_by = kept

        return restore

    def predicted_states(self) -> dict[Key, State | Unpredictable | None]:
        """Return all states predicted so far."""
        return dict(self._predicted)

    def state(self, key: Key) -> State | None:
        if key.kind in WITHOUT_STATE:
            return None
        if key in self._predicted:
            state = self._predicted[key]
            if isinstance(state, Unpredictable):
                raise KnownAfterApply(self._predicted_by[key])
            return state
        if key in self._withheld:
            raise self._withheld[key]
        if key.kind == "tree":
            return self.tree_without(key.name, ())
        self._refuse_hidden(key)
        return self._base.state(key)

    def tree_without(self, path: str, parts: tuple[str, ...]) -> Tree | None:
        """Also exclude what is removed in this view.

        Raises KnownAfterApply if a file of the tree is created or changed in this view.
        """
        key = tree_key(path)
        if key in self._predicted:
            return self.tree(path)
        self._refuse_hidden(key)
        gone = set(parts)
        for part, state in self._predicted.items():
            if part.kind not in ("file", "tree") or not part.name.startswith(f"{path}/"):
                continue
            if state is None:
                gone.add(part.name)
            elif not isinstance(state, Entry) or state.type != "directory":  # directories do not count
                raise KnownAfterApply(self._predicted_by[part])
        return self._base.tree_without(path, tuple(sorted(gone))) if gone else self._base.tree(path)

    def _hide_below(self, target: str, step: str) -> None:
        """Mounting or unmounting reveals other files at and below the mount point, which are not known yet."""
        self._mounted_by[target] = step
        for key in [key for key in self._predicted if key.kind in ON_FILE_SYSTEM and is_below(key.name, target)]:
            del self._predicted[key]

    def _refuse_hidden(self, key: Key) -> None:
        for target, step in self._mounted_by.items():
            if key.kind in ON_FILE_SYSTEM and is_below(key.name, target):
                raise KnownAfterApply(step)

    def names(self, directory: str) -> tuple[str, ...]:
        self._refuse_hidden(Key("file", directory))
        names = set(self._base.names(directory))
        for key, state in self._predicted.items():
            if key.kind in ("file", "tree") and dirname(key.name) == directory:
                if state is None:
                    names.discard(basename(key.name))
                else:
                    names.add(basename(key.name))
        return tuple(sorted(names))

    def accounts(self) -> tuple[Account, ...]:
        kept = [account for account in self._base.accounts() if Key("user", account.name) not in self._predicted]
        added = [state for state in self._predicted.values() if isinstance(state, Account)]
        return (*kept, *added)

    def groups(self) -> tuple[Group, ...]:
        kept = [group for group in self._base.groups() if Key("group", group.name) not in self._predicted]
        added = [state for state in self._predicted.values() if isinstance(state, Group)]
        return (*kept, *added)

    def candidate(self, package: str) -> str | None:
        refreshed = [key for key in self._predicted if key.kind == "package-lists"]
        if refreshed:
            raise KnownAfterApply(self._predicted_by[refreshed[-1]])
        predicted = self._predicted.get(Key("package", package))
        if isinstance(predicted, Package):
            return predicted.version
        if LISTS_KEY in self._withheld:
            raise self._withheld[LISTS_KEY]
        return self._base.candidate(package)

    def changed_at(self, path: str) -> float:
        if Key("file", path) in self._predicted:
            return inf if self._predicted[Key("file", path)] is not None else 0.0
        self._refuse_hidden(Key("file", path))
        return self._base.changed_at(path)


class PredictedMachine(PredictedNode, Machine):
    """A view of `base` after the operations applied here; commands still see the current state."""

    _base: Machine

    def __init__(self, base: Machine) -> None:
        super().__init__(base)
        self.packages_from = base.packages_from
        self.wheels_from = base.wheels_from

    @property
    def is_root(self) -> bool:
        return self._base.is_root

    @property
    def host(self) -> str:
        return self._base.host

    def apply(self, operation: Operation, log: Log = silent) -> None:
        self.predict(operation, "")

    def helpers(self) -> AbstractContextManager[None]:
        return self._base.helpers()

    def refusal(self, operation: Operation) -> str:
        return self._base.refusal(operation)

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        return self._base.query(argv, deadline=deadline)

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        return self._base.kernel_text(path, deadline=deadline)

    def disruption(self, interrupt: Interrupt) -> tuple[Affected, ...]:
        return self._base.disruption(interrupt)

    def space(self, path: str) -> Space:
        return self._base.space(path)

    def in_container(self) -> bool:
        return self._base.in_container()

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        return self._base.engine(path, deadline=deadline)

    def remote_size(self, url: str, proxy: str = "", *, deadline: float = 3.0) -> int:
        return self._base.remote_size(url, proxy, deadline=deadline)

    def hardware(self, part: HardwarePart) -> Any:
        return self._base.hardware(part)
