"""A whole file that is ours alone: a drop-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, WriteFile
from bai_wizard.core.primitives.files import Validator
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.owner import ids_of


@register
@dataclass(frozen=True, kw_only=True)
class DropIn(Step):
    """Writes `text` to `path`. A symbolic link in that place is not followed and not replaced: it blocks."""

    kind: ClassVar[str] = "drop-in"
    path: str
    text: str
    why: str
    owner: str = "root"
    mode: int = 0o644
    validator: Validator = ""

    def describe(self) -> str:
        return f"{self.path}: {self.why}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = view.entry(self.path)
        if there is not None and there.type != "file":
            raise StepBlocked(f"{self.path} is a {there.type}; remove it, or say why it is there")
        uid, gid = ids_of(view, self.owner)
        yield WriteFile(self.path, self.text.encode(), uid, gid, self.mode, self.validator)
