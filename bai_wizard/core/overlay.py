"""A node as it will be: a view with the outcomes of primitives laid over it."""

from __future__ import annotations

from math import inf
from posixpath import basename, dirname

from bai_wizard.core.change import Change
from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives.base import BasePrimitive
from bai_wizard.core.state import Account, Group, Key, Mount, Package, State, States, Unpredictable
from bai_wizard.core.view import NodeView

# Sorts of key whose names are paths that a mount can hide.
ON_FILE_SYSTEM = ("file", "tree", "immutable")


class Overlay(NodeView):
    """Answers from the outcomes laid over `base`, and from `base` for everything else.

    A thing whose outcome could not be predicted raises NotYetKnown with the step that changes it.
    """

    def __init__(self, base: NodeView) -> None:
        self._base = base
        self._promised: dict[Key, State | Unpredictable | None] = {}
        self._promised_by: dict[Key, str] = {}
        self._mounted_by: dict[str, str] = {}

    def states(self, keys: tuple[Key, ...]) -> States:
        """The states of several keys."""
        return {key: self.state(key) for key in keys}

    def lay(self, primitive: BasePrimitive, step: str) -> tuple[Change, ...]:
        """Lays what `primitive` will have done over this view; returns the changes, none if it changes nothing."""
        before = self.states(primitive.keys())
        if primitive.holds(before):
            return ()
        for key, state in primitive.after(before).items():
            if state != before[key]:
                self._promised[key] = state
                self._promised_by[key] = step
                if key.sort == "mount" and (isinstance(state, Mount) or isinstance(before[key], Mount)):
                    self._cover(key.name, step)
        return primitive.changes(before)

    def promises(self) -> dict[Key, State | Unpredictable | None]:
        """Everything laid over the base so far."""
        return dict(self._promised)

    def state(self, key: Key) -> State | None:
        if key.sort in ("restart", "command", "package-lists"):
            return None
        if key in self._promised:
            state = self._promised[key]
            if isinstance(state, Unpredictable):
                raise NotYetKnown(self._promised_by[key])
            return state
        self._refuse_covered(key)
        return self._base.state(key)

    def _cover(self, target: str, step: str) -> None:
        """A mount, or its end, shows other files at and below its point: nobody has seen them yet."""
        self._mounted_by[target] = step
        for key in [key for key in self._promised if key.sort in ON_FILE_SYSTEM and _is_below(key.name, target)]:
            del self._promised[key]

    def _refuse_covered(self, key: Key) -> None:
        for target, step in self._mounted_by.items():
            if key.sort in ON_FILE_SYSTEM and _is_below(key.name, target):
                raise NotYetKnown(step)

    def names(self, directory: str) -> tuple[str, ...]:
        self._refuse_covered(Key("file", directory))
        names = set(self._base.names(directory))
        for key, state in self._promised.items():
            if key.sort in ("file", "tree") and dirname(key.name) == directory:
                if state is None:
                    names.discard(basename(key.name))
                else:
                    names.add(basename(key.name))
        return tuple(sorted(names))

    def accounts(self) -> tuple[Account, ...]:
        kept = [account for account in self._base.accounts() if Key("user", account.name) not in self._promised]
        added = [state for state in self._promised.values() if isinstance(state, Account)]
        return (*kept, *added)

    def groups(self) -> tuple[Group, ...]:
        kept = [group for group in self._base.groups() if Key("group", group.name) not in self._promised]
        added = [state for state in self._promised.values() if isinstance(state, Group)]
        return (*kept, *added)

    def candidate(self, package: str) -> str | None:
        refreshed = [key for key in self._promised if key.sort == "package-lists"]
        if refreshed:
            raise NotYetKnown(self._promised_by[refreshed[-1]])
        promised = self._promised.get(Key("package", package))
        if isinstance(promised, Package):
            return promised.version
        return self._base.candidate(package)

    def changed_at(self, path: str) -> float:
        if Key("file", path) in self._promised:
            return inf if self._promised[Key("file", path)] is not None else 0.0
        self._refuse_covered(Key("file", path))
        return self._base.changed_at(path)


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
