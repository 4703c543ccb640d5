"""A CephFS file system by the kernel's client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, layered, mounted_steps
from bai_wizard.pages.storage.options import type_of

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import CephfsVolume


def steps(volume: CephfsVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The file system at the volume's path. The key itself never stands in fstab, which everybody may read."""
    user = (f"name={volume.user}",) if volume.user else ()
    key = (f"secretfile={volume.secret_file}",) if volume.secret_file else ()
    share = Share(volume.source, type_of("cephfs").fstype, layered("cephfs", volume, user, key))
    return mounted_steps("cephfs", volume, share, facts, context)
