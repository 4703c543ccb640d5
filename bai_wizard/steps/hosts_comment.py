"""Turns lines of /etc/hosts that contradict our block into comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged, outside
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.edit_block import REPAIR_BY_HAND, read_text, rewrite
from bai_wizard.steps.hosts import MARKERS


@register
@dataclass(frozen=True, kw_only=True)
class CommentHosts(Step):
    """Puts `# ` before lines outside our block that read exactly like one of `lines`."""

    kind: ClassVar[str] = "comment-hosts"
    lines: tuple[str, ...]
    path: str = "/etc/hosts"

    def describe(self) -> str:
        return f"{self.path}: {len(self.lines)} contradicting lines become comments"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        text = read_text(view, self.path)
        if text is None:
            return
        try:
            foreign = {number for number, line in outside(text, MARKERS) if line in self.lines}
        except BlockDamaged as error:
            raise StepBlocked(f"{self.path}: {error}. {REPAIR_BY_HAND}") from error
        lines = text.split("\n")
        commented = [f"# {line}" if number in foreign else line for number, line in enumerate(lines, start=1)]
        yield rewrite(view, self.path, "\n".join(commented))
