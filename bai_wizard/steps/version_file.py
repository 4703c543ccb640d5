"""version.txt at the top of a volume: tells the storage proxy which layout of directories it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.primitives import Primitive, WriteFile
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.owner import ids_of

NAME = "version.txt"
# The layout of all releases since 21.09; without the file the storage proxy says «Detected an old vfolder
# structure» and wants a migration (backend.ai, storage/migration.py).
VERSION = "3"
# What a file system or a filer puts into an empty volume by itself.
NOT_DATA = frozenset({"lost+found", ".snapshot", ".snapshots", ".zfs", ".Trash-0"})


@register
@dataclass(frozen=True, kw_only=True)
class VersionFile(Step):
    """Writes version.txt into a volume that holds nothing, as the account; with `write` false only looks.

    A volume that holds data keeps what it has: only its administrator knows which layout that is.
    """

    kind: ClassVar[str] = "version-file"
    path: str
    owner: str
    write: bool = True

    @property
    def file(self) -> str:
        """The path of version.txt."""
        return f"{self.path}/{NAME}"

    def describe(self) -> str:
        return f"{self.file} says {VERSION}" if self.write else f"look at {self.file}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.file}",)

    def note(self, view: NodeView) -> Unchanged:
        try:
            return Unchanged(self.complaint(view))
        except CannotTell as error:
            return Unchanged(f"cannot tell: {error}")

    def complaint(self, view: NodeView) -> str:
        """What is wrong with the file as it is; empty where it says what it should."""
        entry = view.entry(self.file)
        if entry is None and view.entry(self.path) is None:
            return f"{self.path} is not there yet"
        if entry is None and not set(view.names(self.path)) - NOT_DATA:
            return f'{self.path} is empty and has no {NAME}; version_file = "if-empty" on one node would write it'
        if entry is None:
            return f"{self.path} holds data and no {NAME}: the storage proxy will take it for an old layout"
        said = (entry.text() or "").strip()
        if entry.type != "file" or said != VERSION:
            return f"{self.file} says {said[:20]!r}, not {VERSION!r}: left alone, it may be an older layout"
        return ""

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if not self.write:
            # Says in a plan that nobody can know before it is mounted; during the run it is looked at then.
            with suppress(CannotTell):
                view.entry(self.file)
            return
        if set(view.names(self.path)) - NOT_DATA:
            return
        if view.entry(self.path) is None:
            raise StepBlocked(f"{self.path} is not there")
        uid, gid = ids_of(view, self.owner)
        yield WriteFile(self.file, f"{VERSION}\n".encode(), uid, gid, 0o644)
