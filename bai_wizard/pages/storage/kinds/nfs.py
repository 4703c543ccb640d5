"""An NFS export, version 3 or 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, layered, mounted_steps
from bai_wizard.pages.storage.options import type_of, vendor_options

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import NfsVolume


def options_of(volume: NfsVolume) -> tuple[str, ...]:
    """All options of the line. The version is left to client and server unless somebody names it."""
    return layered("nfs", volume, vendor_options(volume.vendor))


def steps(volume: NfsVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The export at the volume's path."""
    share = Share(volume.source, type_of("nfs").fstype, options_of(volume))
    return mounted_steps("nfs", volume, share, facts, context)
