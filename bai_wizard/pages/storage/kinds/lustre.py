"""A Lustre file system; its client comes from the storage's vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, layered, mounted_steps
from bai_wizard.pages.storage.options import type_of

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import LustreVolume


def steps(volume: LustreVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The file system at the volume's path."""
    share = Share(volume.source, type_of("lustre").fstype, layered("lustre", volume))
    return mounted_steps("lustre", volume, share, facts, context)
