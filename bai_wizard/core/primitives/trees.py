"""Directory trees made as a whole: an interpreter, a virtual environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable


def tree_key(path: str) -> Key:
    """The key of a tree by its root."""
    return Key("tree", path)


@dataclass(frozen=True)
class PlaceTree(BasePrimitive):
    """Puts a tree that was prepared aside under its final name by one rename.

    `staged` lies in the same directory as `path`. Undo removes the tree only while it is what we placed.
    """

    kind: ClassVar[str] = "place-tree"
    path: str
    staged: str
    what: str

    def keys(self) -> tuple[Key, ...]:
        return (tree_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: before[self.keys()[0]] or UNPREDICTABLE}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveTree(self.path) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.path}/", verb_of(before, after), attributes=self.what)


@dataclass(frozen=True)
class RemoveTree(BasePrimitive):
    """Removes a tree that this wizard placed."""

    kind: ClassVar[str] = "remove-tree"
    path: str

    def keys(self) -> tuple[Key, ...]:
        return (tree_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.path}/", "remove")
