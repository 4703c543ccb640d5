"""A file system that the vendor's own client mounts: only looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.top import step_id, top_steps
from bai_wizard.steps.volume_check import VolumeCheck

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import ExistingVolume


def steps(volume: ExistingVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """That it is mounted, before anything is written to its top directory."""
    if volume.owner != "set":
        return top_steps(volume, facts, context, expects="mount")
    check = VolumeCheck(id=step_id(volume, "check"), path=volume.target, expects="mount")
    return (check, *top_steps(volume, facts, context))
