"""A volume that the wizard once mounted and that the answers do not name any more: told, never unmounted unasked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class LeftVolume(Step):
    """Changes nothing: sessions may have files open there, and forgetting a volume in the answers is easily done."""

    kind: ClassVar[str] = "left-volume"
    path: str

    def describe(self) -> str:
        return f"{self.path} stays as it is: the answers do not name it any more"

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(
            f"{self.path} stands in the wizard's block of /etc/fstab and not in the answers. To be rid of it: stop "
            f"what uses it, «umount {self.path}», delete its line in /etc/fstab, «systemctl daemon-reload»"
        )

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        yield from ()
