"""Files, directories and links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import Entry, Flag, Key, State, States, Unpredictable

if TYPE_CHECKING:
    from bai_wizard.core.view import NodeView

Validator = Literal["", "visudo", "findmnt", "dockerd", "sshd"]


class PathPrimitive(BasePrimitive):
    """A primitive over one path."""

    path: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("file", self.path),)

    def inverse(self, before: States) -> BasePrimitive | None:
        return restore(self.path, before[self.keys()[0]])

    def way_back(self, before: States, view: NodeView) -> tuple[BasePrimitive, ...]:
        # Neither old nor new: a file written in place, or owner and mode of a directory.
        inverse = self.inverse(before)
        return (inverse,) if inverse is not None else ()

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        old = before if isinstance(before, Entry) else None
        new = after if isinstance(after, Entry) else None
        return path_change(key.name, old, new)


@dataclass(frozen=True)
class WriteFile(PathPrimitive):
    """A whole file with its final owner and mode. `validator` checks the new content before it is in place.

    `secret` keeps the content out of every diff.
    """

    kind: ClassVar[str] = "write-file"
    path: str
    content: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0o644
    validator: Validator = ""
    secret: bool = False

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("file", self.uid, self.gid, self.mode, self.content)}

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        shown = super().change(key, before, after)
        if not self.secret:
            return shown
        old = before.digest() if isinstance(before, Entry) else ""
        from hashlib import sha256

        token = sha256(f"{old}{sha256(self.content).hexdigest()}".encode()).hexdigest()[:16]
        return replace(shown, before=None, after=None, token=token)


@dataclass(frozen=True)
class MakeDirectory(PathPrimitive):
    """A directory with owner and mode; one that exists gets them."""

    kind: ClassVar[str] = "make-directory"
    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o755

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("directory", self.uid, self.gid, self.mode)}


@dataclass(frozen=True)
class MakeLink(PathPrimitive):
    """A symbolic link. Links carry no mode of their own; 0o777 is what the kernel shows."""

    kind: ClassVar[str] = "make-link"
    path: str
    target: str
    uid: int = 0
    gid: int = 0

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("link", self.uid, self.gid, 0o777, target=self.target)}


@dataclass(frozen=True)
class RemovePath(PathPrimitive):
    """Removes a file, a link, or an empty directory; a directory that holds anything is left alone."""

    kind: ClassVar[str] = "remove-path"
    path: str

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}


@dataclass(frozen=True)
class SetImmutable(BasePrimitive):
    """The immutable attribute (`chattr +i`) of a directory: a guard against writes under a missing mount."""

    kind: ClassVar[str] = "set-immutable"
    path: str
    immutable: bool = True

    def keys(self) -> tuple[Key, ...]:
        return (Key("immutable", self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Flag() if self.immutable else None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return SetImmutable(self.path, immutable=before[self.keys()[0]] is not None)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.path} (immutable attribute)", verb_of(before, after))


def restore(path: str, before: State | None) -> BasePrimitive | None:
    """The primitive that brings `path` back to the state `before`."""
    if before is None:
        return RemovePath(path)
    if not isinstance(before, Entry):
        raise TypeError(f"{path}: not the state of a path: {before!r}")
    if before.type == "directory":
        return MakeDirectory(path, before.uid, before.gid, before.mode)
    if before.type == "link":
        return MakeLink(path, before.target or "", before.uid, before.gid)
    if before.content is None:
        return None
    return WriteFile(path, before.content, before.uid, before.gid, before.mode)


def path_change(path: str, before: Entry | None, after: Entry | None) -> Change:
    """How the difference between two states of one path is shown."""
    name = f"{path}/" if "directory" in {entry.type for entry in (before, after) if entry} else path
    old, new = _shown(before), _shown(after)
    token = ""
    if old is None and new is None and (before and before.digest()) != (after and after.digest()):
        token = f"{before.digest()[:16] if before else ''}>{after.digest()[:16] if after else ''}"
    attributes = ""
    if after is not None and (before is None or before.attributes() != after.attributes()):
        attributes = after.attributes() if before is None else f"{before.attributes()} → {after.attributes()}"
    if old == new:
        old = new = None
    return Change(name, verb_of(before, after), old, new, attributes, token)


def _shown(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    if entry.type == "link":
        return f"link to {entry.target}"
    return entry.text()
