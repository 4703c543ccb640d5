"""The mount point of a volume, and its guard: nobody can write into it while nothing is mounted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, SetImmutable
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.directory import Directory

SHOWN = 5


@register
@dataclass(frozen=True, kw_only=True)
class MountPoint(Step):
    """Makes the directory to mount at, as root's. Files in it block: a mount would hide them.

    With `cover` they are no obstacle.
    """

    kind: ClassVar[str] = "mount-point"
    path: str
    cover: bool = False

    def describe(self) -> str:
        return f"{self.path}/ to mount at"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if view.mount(self.path) is not None:
            return
        there = view.entry(self.path)
        if there is None:
            yield from Directory(id=self.id, path=self.path).primitives(view)
            return
        if there.type != "directory":
            raise StepBlocked(f"{self.path} is a {there.type}, not a directory to mount at")
        hidden = view.names(self.path)
        if hidden and not self.cover:
            raise StepBlocked(
                f"{self.path} holds {', '.join(hidden[:SHOWN])}{' and more' if len(hidden) > SHOWN else ''}, written "
                "to the root disk while nothing was mounted; a mount would hide it. Stop what writes there, move the "
                "files aside, and plan again (or say guard = false to mount over them)"
            )


@register
@dataclass(frozen=True, kw_only=True)
class Guard(Step):
    """Makes the empty, unmounted mount point immutable. While something is mounted over it nobody can see it.

    `lacking` is a file system without that attribute that the mount point lies on: then there is no guard, and it is
    told.
    """

    kind: ClassVar[str] = "guard"
    path: str
    lacking: str = ""

    def describe(self) -> str:
        return f"nobody can write into {self.path}/ while nothing is mounted there"

    def scope(self) -> tuple[str, ...]:
        return (f"immutable:{self.path}",)

    def note(self, view: NodeView) -> Unchanged:
        if self.lacking:
            return Unchanged(
                f"no guard: {self.lacking}, which {self.path} lies on, has no immutable attribute. While nothing is "
                "mounted, data would go there; the doctor's check storage-not-mounted sees that"
            )
        return Unchanged("mounted: the guard under it cannot be seen now" if view.mount(self.path) else "")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if not self.lacking and view.mount(self.path) is None and not view.names(self.path):
            yield SetImmutable(self.path)
