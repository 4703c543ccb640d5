"""The directory that a drop-in of ours goes into, where a small system does not have it yet."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname

from bai_wizard.core.primitives import Primitive
from bai_wizard.core.view import NodeView
from bai_wizard.steps.directory import Directory


def missing_parent(view: NodeView, path: str) -> Iterator[Primitive]:
    """Makes the directory of `path` as root's (0755) where it does not exist; one that does is left as it is."""
    parent = dirname(path)
    if view.entry(parent) is None:
        yield from Directory(id="parent", path=parent).primitives(view)
