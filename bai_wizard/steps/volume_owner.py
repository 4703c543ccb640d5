"""The top directory of a mounted volume, given to the account; then those who will write there are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.machine import Machine
from bai_wizard.core.step import register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.directory import Directory
from bai_wizard.steps.volume_writers import refusal_of_writers, touch


@register
@dataclass(frozen=True, kw_only=True)
class VolumeOwner(Directory):
    """Like any directory; `written_as` are accounts, or `uid:gid`, that must be able to write there afterwards."""

    kind: ClassVar[str] = "volume-owner"
    written_as: tuple[str, ...] = ()

    def verify(self, view: NodeView) -> str:
        """Reads owner and mode back, and on a real node writes as those who will."""
        missing = super().verify(view)
        if missing or not isinstance(view, Machine):
            return missing
        return refusal_of_writers(view, self.path, self.written_as, touch(view, "look", self.path))
