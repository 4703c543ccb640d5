"""The volumes that a node has, whatever the answers say: from fstab and from what is mounted."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.blocks import BlockDamaged
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Mount
from bai_wizard.machine.readers.mounts import REMOTE, parse_mountinfo
from bai_wizard.steps.fstab import FSTAB, FstabEntry, own_entries, parse
from bai_wizard.steps.mount import MountVolume
from bai_wizard.steps.mounted_source import family

ROOT = "/vfroot"


@dataclass(frozen=True)
class Share:
    """A place under /vfroot that is in fstab or mounted. `ours` is true for a line of our block."""

    target: str
    entry: FstabEntry | None
    mount: Mount | None
    ours: bool = False

    @property
    def is_mounted(self) -> bool:
        """True when the file system itself is there, not only its automount point."""
        return self.mount is not None and self.mount.fstype != "autofs"

    @property
    def is_nfs(self) -> bool:
        """True for NFS of any version, mounted or only in fstab."""
        word = self.mount.fstype if self.mount and self.is_mounted else self.entry.fstype if self.entry else ""
        return family(word) == "nfs"

    @property
    def is_remote(self) -> bool:
        """True where a server may be gone."""
        word = self.mount.fstype if self.mount and self.is_mounted else self.entry.fstype if self.entry else ""
        return bool(REMOTE.fullmatch(word))

    @property
    def name(self) -> str:
        """The last part of the path, as volumes are called."""
        return self.target.rpartition("/")[2]

    def remedy(self, entry: FstabEntry | None = None) -> tuple[MountVolume, ...]:
        """The step that mounts it by our line, or by `entry` in its place; none for a line of somebody else."""
        line = entry or self.entry
        if line is None or not self.ours:
            return ()
        return (
            MountVolume(
                id=f"storage.{self.name}.mount",
                source=line.source,
                target=self.target,
                fstype=line.fstype,
                options=line.options,
                automount=line.has("x-systemd.automount"),
            ),
        )


def fstab_text(machine: Machine) -> str:
    """The text of fstab, empty where there is none; bytes that are no UTF-8 are kept as surrogates."""
    entry = machine.entry(FSTAB)
    return (entry.content or b"").decode("utf-8", "surrogateescape") if entry else ""


def shares(machine: Machine) -> tuple[Share, ...]:
    """Every volume under /vfroot, and those of our block elsewhere. Raises CannotTell."""
    text = fstab_text(machine)
    try:
        own = {entry.target for entry in own_entries(text)}
    except BlockDamaged:
        own = set()
    listed = {entry.target: entry for entry in parse(text) if _is_volume(entry.target) or entry.target in own}
    mounted = [line.point for line in parse_mountinfo(_mountinfo(machine)) if _is_volume(line.point)]
    targets = dict.fromkeys([*listed, *mounted])
    return tuple(Share(target, listed.get(target), machine.mount(target), target in own) for target in targets)


def _is_volume(path: str) -> bool:
    return path.startswith(f"{ROOT}/")


def _mountinfo(machine: Machine) -> str:
    text = machine.kernel_text("/proc/self/mountinfo")
    if text is None:
        raise CannotTell("this node has no /proc/self/mountinfo")
    return text
