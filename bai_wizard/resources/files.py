"""Files, directories, links and the immutable attribute: their operations, and how they are executed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from posixpath import dirname
from typing import TYPE_CHECKING, ClassVar, Literal

from msgspec.structs import replace

from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.secret import without_credentials
from bai_wizard.core.state import Entry, Flag, Key, State, States, Unpredictable
from bai_wizard.resources import performs, reads, sweeps

if TYPE_CHECKING:
    from bai_wizard.core.machine import NodeView
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine


Validator = Literal["", "visudo", "findmnt", "dockerd", "sshd"]


class PathOperation(Operation, frozen=True):
    """An operation on one path."""

    path: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("file", self.path),)

    def inverse(self, before: States) -> Operation | None:
        return restore(self.path, before[self.keys()[0]], secret=getattr(self, "secret", False))

    def recovery_steps(self, before: States, view: NodeView) -> tuple[Operation, ...]:
        # Neither old nor new: a file written in place, or the owner and mode of a directory.
        inverse = self.inverse(before)
        return (inverse,) if inverse is not None else ()

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        old = before if isinstance(before, Entry) else None
        new = after if isinstance(after, Entry) else None
        if getattr(self, "secret", False):
            return replace(path_change(key.name, old, new), before=None, after=None, token=_token(old, new))
        return path_change(key.name, old, new)


class WriteFile(PathOperation, frozen=True):
    """Write a whole file with its final owner and mode. `validator` checks the new content before it is put in place.

    `secret` keeps the content out of every diff.
    """

    kind: ClassVar[str] = "write-file"
    content: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0o644
    validator: Validator = ""
    secret: bool = False

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("file", self.uid, self.gid, self.mode, self.content)}

    def simulate(self, node: Simulation) -> States:
        _refuse_place(self.path, node, is_directory=False)
        return {}


class MakeDirectory(PathOperation, frozen=True):
    """Create a directory with owner and mode; an existing directory gets them too."""

    kind: ClassVar[str] = "make-directory"
    uid: int = 0
    gid: int = 0
    mode: int = 0o755

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("directory", self.uid, self.gid, self.mode)}

    def simulate(self, node: Simulation) -> States:
        _refuse_place(self.path, node, is_directory=True)
        return {}


class MakeLink(PathOperation, frozen=True):
    """A symbolic link. Links have no mode of their own; the kernel reports 0o777."""

    kind: ClassVar[str] = "make-link"
    target: str
    uid: int = 0
    gid: int = 0

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Entry("link", self.uid, self.gid, 0o777, target=self.target)}

    def simulate(self, node: Simulation) -> States:
        _refuse_place(self.path, node, is_directory=False)
        return {}


class RemovePath(PathOperation, frozen=True):
    """Remove a file, a link or an empty directory; a non-empty directory is kept.

    `secret` keeps the content out of every diff.
    """

    kind: ClassVar[str] = "remove-path"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("secret",)
    secret: bool = False

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def simulate(self, node: Simulation) -> States:
        if any(key.kind in ("file", "tree") and dirname(key.name) == self.path for key in node.states):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), self.path)
        return {}


class SetImmutable(Operation, frozen=True):
    """The immutable attribute (`chattr +i`) of a directory: a guard against writes under a missing mount."""

    kind: ClassVar[str] = "set-immutable"
    path: str
    immutable: bool = True

    def keys(self) -> tuple[Key, ...]:
        return (Key("immutable", self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Flag() if self.immutable else None}

    def inverse(self, before: States) -> Operation | None:
        return SetImmutable(self.path, immutable=before[self.keys()[0]] is not None)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.path} (immutable attribute)", verb_of(before, after))


def _refuse_place(path: str, node: Simulation, *, is_directory: bool) -> None:
    above, existing = node.states.get(Key("file", dirname(path))), node.states.get(Key("file", path))
    if dirname(path) != "/" and not (isinstance(above, Entry) and above.type == "directory"):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if isinstance(existing, Entry) and (existing.type == "directory") != is_directory:
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def restore(path: str, before: State | None, *, secret: bool = False) -> Operation | None:
    """Return the operation that restores `path` to the state `before`; content hidden from diffs stays hidden."""
    if before is None:
        return RemovePath(path, secret)
    if not isinstance(before, Entry):
        raise TypeError(f"{path}: not a path state: {before!r}")
    if before.type == "directory":
        return MakeDirectory(path, before.uid, before.gid, before.mode)
    if before.type == "link":
        return MakeLink(path, before.target or "", before.uid, before.gid)
    if before.content is None:
        return None
    return WriteFile(path, before.content, before.uid, before.gid, before.mode, secret=secret)


def path_change(path: str, before: Entry | None, after: Entry | None) -> Change:
    """Return the change to show for two states of one path."""
    name = f"{path}/" if "directory" in {entry.type for entry in (before, after) if entry} else path
    old, new = _shown(before), _shown(after)
    token = _token(before, after) if _hides(before, old) or _hides(after, new) else ""
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
    text = entry.text()
    return without_credentials(text) if text is not None else None


def _hides(entry: Entry | None, shown: str | None) -> bool:
    """Whether some of the content is hidden, so that the shown texts do not suffice to distinguish changes."""
    return entry is not None and shown is not None and entry.type != "link" and shown != entry.text()


def _token(before: Entry | None, after: Entry | None) -> str:
    from hashlib import sha256

    sides = [entry.digest() if entry is not None else "" for entry in (before, after)]
    return sha256("".join(sides).encode()).hexdigest()[:16]


# Each validates the temporary file before it is put in place.
VALIDATORS: dict[Validator, tuple[str, ...]] = {
    "visudo": ("visudo", "-c", "-f"),
    "findmnt": ("findmnt", "--verify", "--tab-file"),
    "dockerd": ("dockerd", "--validate", "--config-file"),
    "sshd": ("sshd", "-t", "-f"),
}


reads("file")(lambda machine, path: machine.files.read(path))


@reads("immutable")
def immutable_state(machine: LocalMachine, path: str) -> Flag | None:
    """Return whether a directory has the immutable attribute, under the mount if something is mounted there."""
    return Flag() if machine.files.is_immutable(path, below=machine.is_covered(path)) else None


@performs(WriteFile)
def write_file(machine: LocalMachine, operation: WriteFile, log: Log) -> None:
    """Write a whole file; if the validator rejects it, the old file stays."""
    check = _checker(operation, log) if operation.validator else None
    machine.files.write(operation.path, operation.content, operation.uid, operation.gid, operation.mode, check=check)


@performs(MakeDirectory)
def make_directory(machine: LocalMachine, operation: MakeDirectory, log: Log) -> None:
    machine.files.make_directory(operation.path, operation.uid, operation.gid, operation.mode)


@performs(MakeLink)
def make_link(machine: LocalMachine, operation: MakeLink, log: Log) -> None:
    machine.files.make_link(operation.path, operation.target, operation.uid, operation.gid)


@performs(RemovePath)
def remove_path(machine: LocalMachine, operation: RemovePath, log: Log) -> None:
    machine.files.remove(operation.path)


@sweeps(PathOperation)
def sweep_path(machine: LocalMachine, operation: PathOperation) -> None:
    """Remove the temporary files beside the path."""
    machine.files.sweep(operation.path)


@performs(SetImmutable)
def set_immutable(machine: LocalMachine, operation: SetImmutable, log: Log) -> None:
    """Set or clear the immutable attribute, under the mount if something is mounted there."""
    machine.files.set_immutable(operation.path, operation.immutable, below=machine.is_covered(operation.path))


def _checker(operation: WriteFile, log: Log) -> Callable[[str], None]:
    from bai_wizard.node.process import succeed

    def check(temporary: str) -> None:
        argv = (*VALIDATORS[operation.validator], temporary)
        succeed(argv, log, timeout=30.0, title=f"{operation.path}: {argv[0]} rejects the new content")

    return check
