"""Something that the answers ask for and this wizard does not do by itself: it stands in the plan with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class Refusal(Step):
    """Blocks with `reason`. `optional` lets the rest of the plan be carried out."""

    kind: ClassVar[str] = "refusal"
    title: str
    reason: str

    def describe(self) -> str:
        return self.title

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        raise StepBlocked(self.reason)
        yield  # a generator, as every step's
