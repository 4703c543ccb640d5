"""Any other file system, by a line of fstab of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.mounted import Share, mounted_steps
from bai_wizard.pages.storage.options import kind_of, split
from bai_wizard.steps.fstab import FstabEntry, parse_line

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import FstabVolume

# systemd knows these and more by itself; helpers of vendors it does not know.
NETWORK = ("ceph", "lustre", "wekafs", "beegfs", "gpfs", "glusterfs", "fuse.glusterfs", "fuse.s3fs", "cifs")


def steps(volume: FstabVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The line as it is given; what the boot may stumble over is told."""
    entry = parse_line(volume.line)
    assert entry is not None, "the settings refuse a line of fewer than three fields"
    options = split(entry.options)
    line = " ".join(volume.line.split())
    share = Share(entry.source, entry.fstype, options, line=line, warned=boot_warnings(entry))
    return mounted_steps(kind_of(entry.fstype), volume, share, facts, context)


def boot_warnings(entry: FstabEntry) -> tuple[str, ...]:
    """What the next boot would stumble over."""
    found = []
    if not (entry.has("nofail") or entry.has("noauto") or entry.has("x-systemd.automount")):
        found.append("without `nofail` the node does not boot while this file system is away")
    if entry.fstype in NETWORK and not entry.has("_netdev") and entry.fstype not in ("nfs", "nfs4"):
        found.append("without `_netdev` the boot tries it before the network is there")
    return tuple(found)
