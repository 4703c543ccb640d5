"""Directory trees created as a whole below an account's directory: staged, then renamed into place."""

from __future__ import annotations

from abc import abstractmethod
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.state import UNPREDICTABLE, Entry, Key, State, States, Tree, Unpredictable, file_key, tree_key
from bai_wizard.resources import reads

if TYPE_CHECKING:
    from bai_wizard.core.operation import Simulation


reads("tree")(lambda machine, path: machine.tree_without(path, ()))


def staged(path: str) -> str:
    """Where a tree is staged: beside its final path, so that a rename within one file system puts it in place."""
    return join(dirname(path), f".bai-wizard.{basename(path).lstrip('.')}")


def removed(path: str) -> str:
    """Where a tree is moved for removal: a directory beside its path, which a later removal can complete."""
    return join(dirname(path), f".bai-wizard.removed.{basename(path).lstrip('.')}")


def tree_keys(path: str) -> tuple[Key, Key]:
    """The keys of a tree and of its staging path."""
    return tree_key(path), tree_key(staged(path))


def simulated_tree(path: str) -> States:
    """Return the state of a tree on a simulated node."""
    from hashlib import sha256

    return {tree_key(path): Tree(sha256(path.encode()).hexdigest())}


class TreeOperation(Operation, frozen=True):
    """Create a tree where none exists. What an interrupted run left at `staged(path)` also belongs to it.

    Undo removes the tree only while it is unmodified: a package that someone added to it keeps it.
    """

    path: str

    def made(self) -> Outcome:
        """Return the other states that hold once the tree exists."""
        return {}

    def keys(self) -> tuple[Key, ...]:
        return (*self.made(), *tree_keys(self.path))

    def after(self, before: States) -> Outcome:
        if before[tree_key(self.path)] is not None:
            return dict(before)
        return {**self.made(), tree_key(self.path): UNPREDICTABLE, tree_key(staged(self.path)): None}

    def inverse(self, before: States) -> Operation | None:
        return RemoveTree(self.path)

    def changes(self, before: States) -> tuple[Change, ...]:
        return (Change(f"{self.path}/", "create", attributes=self.what(), key=tree_key(self.path)),)

    @abstractmethod
    def what(self) -> str:
        """Describe the content of the tree in a few words."""

    def simulate(self, node: Simulation) -> States:
        return simulated_tree(self.path)


class CloneRepository(TreeOperation, frozen=True):
    """Clone the latest commit of a git repository's default branch, as the account."""

    kind: ClassVar[str] = "clone-repository"
    url: str
    account: str
    environment: tuple[tuple[str, str], ...] = ()

    def what(self) -> str:
        return f"from {self.url}"


class RemoveTree(Operation, frozen=True):
    """Remove a tree that this wizard made, and leftovers of its interrupted creation or removal."""

    kind: ClassVar[str] = "remove-tree"
    path: str

    def keys(self) -> tuple[Key, ...]:
        return (*tree_keys(self.path), tree_key(removed(self.path)))

    def after(self, before: States) -> Outcome:
        return dict.fromkeys(self.keys())

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{key.name}/", verb_of(before, after))

    def simulate(self, node: Simulation) -> States:
        inside = (f"{self.path}/", f"{self.path}:")
        return dict.fromkeys(key for key in node.states if key.name == self.path or key.name.startswith(inside))


class GiveTree(Operation, frozen=True):
    """Give a root-owned file or directory back to its account; with `recursive` its content too.

    Runs as root, without following links: the account itself cannot do this. Files of other accounts are left alone.
    """

    kind: ClassVar[str] = "give-tree"
    path: str
    uid: int
    gid: int
    recursive: bool = True

    def keys(self) -> tuple[Key, ...]:
        return (file_key(self.path),)

    def after(self, before: States) -> Outcome:
        entry = before[file_key(self.path)]
        if not isinstance(entry, Entry) or entry.uid != 0:
            return dict(before)
        return {file_key(self.path): replace(entry, uid=self.uid, gid=self.gid)}

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        old = before.attributes() if isinstance(before, Entry) else ""
        new = after.attributes() if isinstance(after, Entry) else ""
        message = ", with all its content that root owns" if self.recursive else ""
        return Change(self.path, "modify", attributes=f"{old} → {new}{message}")

    def irreversible_reason(self) -> str:
        return f"{self.path} keeps its new owner"
