"""What each type of volume needs beyond `data/storage.toml`: its fstab entry, and why it cannot be mounted now."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.parse import whole
from bai_wizard.core.paths import family, is_network, volume_type
from bai_wizard.core.state import Mount
from bai_wizard.pages.storage.fstab import FstabEntry, fields, parse_fstab_line
from bai_wizard.pages.storage.options import judge, kind_of, merged, split, type_of, vendor_options
from bai_wizard.pages.storage.settings import (
    BindVolume,
    CephfsVolume,
    FstabVolume,
    NfsVolume,
    StorageSettings,
    XfsVolume,
)
from bai_wizard.pages.storage.sources import addresses_of, device_of, file_system_on, refuse_host, refuse_nfs

if TYPE_CHECKING:
    from bai_wizard.pages.storage.probe import VolumeFacts


class Share(Struct, frozen=True):
    """The content of a volume's fstab entry. `kind` is the type in `data/storage.toml` that describes its options.

    `line` is a custom line, `warned` are warnings about it; `needs` are options that mountinfo must show.
    """

    kind: str
    source: str
    options: tuple[str, ...]
    fstype: str
    needs: tuple[str, ...] = ()
    line: str = ""
    warned: tuple[str, ...] = ()


def share_of(
    volume: Any, source: str, *layers: tuple[str, ...], needs: tuple[str, ...] = (), warned: str = ""
) -> Share:
    """Return the entry of a type in the data file.

    Its options are the type's defaults, `layers`, automount if requested, and the answers' options; the last wins.
    """
    known = type_of(volume.type)
    automount = ("x-systemd.automount",) if volume.automount else ()
    options = merged(known.defaults, *layers, automount, split(volume.options))
    return Share(volume.type, source, options, known.fstype, needs, warned=(warned,) if warned else ())


def _nfs_share(volume: NfsVolume, known: VolumeFacts | None) -> Share:
    """Mount the export at the volume's path. The version is negotiated unless one is given."""
    return share_of(volume, volume.source, vendor_options(volume.vendor))


def _nfs_refusal(machine: Machine, volume: NfsVolume, settings: StorageSettings) -> str:
    """Why the server refuses the export, asked before anything is mounted. Raises StateUnknown."""
    return refuse_nfs(machine, volume.source, _nfs_share(volume, None).options)


def _nfs_hosts(source: str) -> tuple[str, ...]:
    """Return the server of the export."""
    return (source.partition(":/")[0].strip("[]"),)


def _cephfs_share(volume: CephfsVolume, known: VolumeFacts | None) -> Share:
    """Mount the file system at the volume's path. The key is never written to fstab, which every user can read."""
    user = (f"name={volume.user}",) if volume.user else ()
    key = (f"secretfile={volume.secret_file}",) if volume.secret_file else ()
    return share_of(volume, volume.source, user, key)


def _cephfs_refusal(machine: Machine, volume: CephfsVolume, settings: StorageSettings) -> str:
    """Why the file system cannot be mounted: a missing key, or monitors that do not answer. Raises StateUnknown."""
    if volume.secret_file and machine.entry(volume.secret_file) is None:
        return f"{volume.secret_file} does not exist: put the Ceph user's key there, readable by root only"
    monitors = _cephfs_hosts(volume.source)
    if not monitors:
        return ""
    ports = [whole(port) for port in re.findall(r":(\d+)(?=[,:])", volume.source)]
    output = ""
    for port in ports[:1] or (type_of("cephfs").port, 3300):
        output = refuse_host(machine, monitors, port, "a Ceph monitor")
        if not output:
            return ""
    return output


def _cephfs_hosts(source: str) -> tuple[str, ...]:
    """Return the monitors. Sources in the newer syntax contain none: they are in /etc/ceph/ceph.conf."""
    if ":/" not in source:
        return ()
    monitors = source.partition(":/")[0].split(",")
    return tuple(re.sub(r"(?<=[^:]):\d+$", "", monitor).strip("[]") for monitor in monitors)


def _xfs_share(volume: XfsVolume, known: VolumeFacts | None) -> Share:
    """Mount the file system at the volume's path, by its UUID if the device name may change at the next boot."""
    source = (known.device if known else "") or volume.device
    quota = ("pquota",) if volume.quota else ()
    # mountinfo shows pquota by its other name.
    needs = ("prjquota",) if volume.quota else ()
    return share_of(volume, source, quota, needs=needs)


def _xfs_refusal(machine: Machine, volume: XfsVolume, settings: StorageSettings) -> str:
    """Why the device cannot be mounted: it is missing, empty or of another type. Raises StateUnknown."""
    device = device_of(machine, volume.device)
    if machine.entry(device) is None:
        return f"{volume.device} does not exist on this node: list the devices with `lsblk -f`"
    result = file_system_on(machine, device)
    if not result:
        return (
            f"{volume.device} contains no known file system. The wizard never formats: if the device contains no "
            f"data, create a file system with `mkfs.xfs {device}` and plan again"
        )
    if result.get("TYPE") != "xfs":
        return f"{volume.device} contains {result.get('TYPE', 'unknown data')}, not xfs; it was left unchanged"
    return ""


def _xfs_answers(mount: Mount) -> dict[str, Any] | None:
    """Return the device and whether project quota is on; None for a source that is not a device."""
    if not mount.source.startswith("/dev/"):
        return None
    quota = {"prjquota", "pquota"}.intersection(mount.options.split(","))
    return {"device": mount.source, "quota": bool(quota)}


def _bind_share(volume: BindVolume, known: VolumeFacts | None) -> Share:
    """Bind-mount the directory at the volume's path, after any mount at the directory itself."""
    source = volume.source.rstrip("/")
    warned = ""
    if known and known.on_root_disk:
        warned = (
            f"{source} is on this node's root disk, so the data will be too; if a vendor's client mounts it, mount it"
            " there first"
        )
    return share_of(volume, source, (f"x-systemd.requires-mounts-for={source}",), warned=warned)


def _bind_refusal(machine: Machine, volume: BindVolume, settings: StorageSettings) -> str:
    """Why the directory cannot be mounted: it does not exist. Raises StateUnknown."""
    inside = [other.target for other in settings.volumes if other is not volume]
    if any(volume.source == path or volume.source.startswith(f"{path}/") for path in inside):
        return ""  # made by another volume of these answers
    entry = machine.entry(volume.source.rstrip("/"))
    if entry is None or entry.type != "directory":
        return f"{volume.source} is not a directory on this node: mount the vendor's file system there first"
    return ""


def _fstab_share(volume: FstabVolume, known: VolumeFacts | None) -> Share:
    """Add the line unchanged; warn about options that may affect the boot."""
    entry = parse_fstab_line(volume.line)
    assert entry is not None, "the settings refuse a line of fewer than three fields"
    line = " ".join(fields(volume.line))
    kind = kind_of(entry.fstype)
    return Share(kind, entry.source, split(entry.options), entry.fstype, line=line, warned=_boot_warnings(entry))


def _boot_warnings(entry: FstabEntry) -> tuple[str, ...]:
    """Return problems that the line would cause at the next boot."""
    result = []
    if not (entry.has("nofail") or entry.has("noauto") or entry.has("x-systemd.automount")):
        result.append("without `nofail`, the node does not boot while this file system is unavailable")
    # systemd knows that NFS needs the network, but not that vendors' mount helpers do.
    if is_network(entry.fstype) and family(entry.fstype) != "nfs" and not entry.has("_netdev"):
        result.append("without `_netdev`, it is mounted at boot before the network is up")
    return tuple(result)


def _fstab_refusal(machine: Machine, volume: FstabVolume, settings: StorageSettings) -> str:
    """Why an NFS server refuses the mount; nothing is known about other file systems. Raises StateUnknown."""
    entry = parse_fstab_line(volume.line)
    if entry is None:
        return "the line has fewer than three fields"
    if family(entry.fstype) == "nfs":
        options = split(entry.options)
        refused = judge("nfs", options).refused
        return "; ".join(refused) or refuse_nfs(machine, entry.source, options)
    return ""


class Kind(NamedTuple):
    """The functions of one type.

    `hosts`: the servers that a source names, without brackets and ports. `answers`: the keys of the answers that
    describe a mounted volume; None if it is not of this type.
    """

    share: Callable[[Any, VolumeFacts | None], Share]
    refusal: Callable[[Machine, Any, StorageSettings], str]
    hosts: Callable[[str], tuple[str, ...]] | None = None
    answers: Callable[[Mount], dict[str, Any] | None] | None = None


KINDS = {
    "nfs": Kind(_nfs_share, _nfs_refusal, _nfs_hosts),
    "cephfs": Kind(_cephfs_share, _cephfs_refusal, _cephfs_hosts),
    "xfs": Kind(_xfs_share, _xfs_refusal, answers=_xfs_answers),
    "bind": Kind(_bind_share, _bind_refusal),
    "fstab": Kind(_fstab_share, _fstab_refusal),
}


def share(volume: Any, known: VolumeFacts | None) -> Share:
    """Return the fstab entry of a volume that the wizard mounts."""
    return KINDS[volume.type].share(volume, known) if volume.type in KINDS else share_of(volume, volume.source)


def hosts_of(volume: Any) -> tuple[str, ...]:
    """Return the servers of a volume, by name or address, without IPv6 brackets and ports."""
    source, kind = getattr(volume, "source", ""), volume.type
    if kind == "fstab":
        entry = parse_fstab_line(volume.line)
        source, kind = (entry.source, volume_type(entry.fstype)) if entry else ("", "")
    named = KINDS[kind].hosts if kind in KINDS else None
    return named(source) if named else ()


def unknown_hosts(machine: Machine, volume: Any) -> tuple[str, ...]:
    """Return the server names that the resolver does not know."""
    try:
        return tuple(host for host in hosts_of(volume) if not addresses_of(machine, host))
    except StateUnknown:
        return ()


def refusal(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    """Why this volume cannot be mounted on this node now; empty if it can, or if that is unknown."""
    try:
        if volume.type in KINDS:
            return KINDS[volume.type].refusal(machine, volume, settings)
        known = type_of(volume.type)
        absent = known.missing and machine.entry(known.helper) is None
        return f"{known.missing} ({known.page})" if absent else ""
    except StateUnknown:
        return ""
