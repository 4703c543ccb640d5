"""A directory elsewhere, such as a vendor's mount point, shown under /vfroot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, layered, mounted_steps
from bai_wizard.pages.storage.options import type_of

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import BindVolume

ROOT_DISK = (
    "{} lies on this node's root disk, and so will the data; if a vendor's client mounts it, have it mounted first"
)


def steps(volume: BindVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The directory at the volume's path, after whatever is mounted at the directory itself."""
    source = volume.source.rstrip("/")
    after = (f"x-systemd.requires-mounts-for={source}",)
    known = facts.volume(volume.name)
    warned = (ROOT_DISK.format(source),) if known and known.on_root_disk else ()
    share = Share(source, type_of("bind").fstype, layered("bind", volume, after), warned=warned)
    return mounted_steps("bind", volume, share, facts, context)
