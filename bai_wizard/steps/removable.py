"""A drop-in of ours that is there only as long as the answers ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.primitives import Primitive, RemovePath
from bai_wizard.core.step import register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn


@register
@dataclass(frozen=True, kw_only=True)
class RemovableDropIn(DropIn):
    """Writes `text`; without one the file is removed. Its name is one that nobody else uses."""

    kind: ClassVar[str] = "removable-drop-in"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if not self.text:
            yield RemovePath(self.path)
            return
        yield from missing_parent(view, self.path)
        yield from super().primitives(view)
