"""An existing XFS on a block device, with project quota. It is only mounted: nothing here can format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, layered, mounted_steps
from bai_wizard.pages.storage.options import type_of

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import XfsVolume


def steps(volume: XfsVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The file system at the volume's path, by its UUID where the device's name may change at the next boot."""
    known = facts.volume(volume.name)
    source = (known.device if known else "") or volume.device
    quota = ("pquota",) if volume.quota else ()
    # mountinfo calls pquota by its other name.
    needs = ("prjquota",) if volume.quota else ()
    share = Share(source, type_of("xfs").fstype, layered("xfs", volume, quota), needs)
    return mounted_steps("xfs", volume, share, facts, context)
