"""A directory with its owner and mode; never what is inside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.owner import ids_of


@register
@dataclass(frozen=True, kw_only=True)
class Directory(Step):
    """Makes `path` with owner and mode, and missing parents as root's (0755). What it holds keeps its owner."""

    kind: ClassVar[str] = "directory"
    path: str
    owner: str = "root"
    mode: int = 0o755

    def describe(self) -> str:
        return f"{self.path}/ owned by {self.owner}, mode {self.mode:04o}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        for parent in reversed(_missing_parents(view, self.path)):
            yield MakeDirectory(parent)
        there = view.entry(self.path)
        if there is not None and there.type != "directory":
            raise StepBlocked(f"{self.path} is a {there.type}, not a directory")
        uid, gid = ids_of(view, self.owner)
        yield MakeDirectory(self.path, uid, gid, self.mode)


def _missing_parents(view: NodeView, path: str) -> list[str]:
    missing = []
    parent = dirname(path)
    while parent != "/" and view.entry(parent) is None:
        missing.append(parent)
        parent = dirname(parent)
    return missing
