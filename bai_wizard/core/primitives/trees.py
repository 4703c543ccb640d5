"""Directory trees made as a whole below an account's directory: prepared aside, then renamed into place."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from posixpath import basename, dirname, join
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import tree_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unpredictable


def staged(path: str) -> str:
    """Where a tree is prepared: beside its place, so that one rename of the same file system puts it there."""
    return join(dirname(path), f".bai-wizard.{basename(path).lstrip('.')}")


class TreePrimitive(BasePrimitive):
    """Makes one tree where none is. What a run that was cut left at `staged(path)` belongs to it as well.

    Undo removes the tree only while it is what was made: a package that somebody added to it keeps it.
    """

    path: str

    def made(self) -> Outcome:
        """The further states that are true once the tree is there."""
        return {}

    def keys(self) -> tuple[Key, ...]:
        return (*self.made(), tree_key(self.path), tree_key(staged(self.path)))

    def after(self, before: States) -> Outcome:
        if before[tree_key(self.path)] is not None:
            return dict(before)
        return {**self.made(), tree_key(self.path): UNPREDICTABLE, tree_key(staged(self.path)): None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveTree(self.path)

    def changes(self, before: States) -> tuple[Change, ...]:
        return (Change(f"{self.path}/", "create", attributes=self.what()),)

    @abstractmethod
    def what(self) -> str:
        """What is put there, in a few words."""


@dataclass(frozen=True)
class CloneRepository(TreePrimitive):
    """The newest commit of a git repository's default branch, as the account."""

    kind: ClassVar[str] = "clone-repository"
    path: str
    url: str
    account: str
    environment: tuple[tuple[str, str], ...] = ()

    def what(self) -> str:
        return f"from {self.url}"


@dataclass(frozen=True)
class RemoveTree(BasePrimitive):
    """Removes a tree that this wizard made, and what a cut run left of its preparation."""

    kind: ClassVar[str] = "remove-tree"
    path: str

    def keys(self) -> tuple[Key, ...]:
        return (tree_key(self.path), tree_key(staged(self.path)))

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{key.name}/", verb_of(before, after))
