"""What speaks against each type of volume before anything is changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine
from bai_wizard.pages.storage.options import judge, split, type_of
from bai_wizard.pages.storage.servers import addresses_of, refuse_host, refuse_nfs
from bai_wizard.steps.fstab import parse_line
from bai_wizard.steps.mounted_source import device_of

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import StorageSettings


def hosts_of(volume: Any) -> tuple[str, ...]:
    """The servers that a volume names, by name or address; brackets of IPv6 addresses and ports left out."""
    source = getattr(volume, "source", "")
    kind = volume.type
    if kind == "fstab":
        entry = parse_line(volume.line)
        source, kind = (entry.source, entry.fstype.rstrip("4")) if entry else ("", "")
    if kind == "nfs":
        return (source.partition(":/")[0].strip("[]"),)
    if kind == "cephfs" and ":/" in source:
        monitors = source.partition(":/")[0].split(",")
        return tuple(re.sub(r"(?<=[^:]):\d+$", "", monitor).strip("[]") for monitor in monitors)
    return ()  # the newer style of cephfs names no monitors: /etc/ceph/ceph.conf does


def unknown_hosts(machine: Machine, volume: Any) -> tuple[str, ...]:
    """The servers' names that the resolver does not know."""
    try:
        return tuple(host for host in hosts_of(volume) if not addresses_of(machine, host))
    except CannotTell:
        return ()


# Names that the kernel gives anew at every boot, by the order in which disks answer.
_UNSTABLE = re.compile(r"/dev/(sd|vd|nvme|hd|xvd|mmcblk)\S+")


def refusal(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    """Why this volume cannot be mounted on this node now; empty where it can, or nobody can tell."""
    try:
        return _QUESTIONS[volume.type](machine, volume, settings) if volume.type in _QUESTIONS else ""
    except CannotTell:
        return ""


def stable_device(machine: Machine, device: str) -> str:
    """`UUID=…` of the file system on a device whose name may change; empty where it may not."""
    if not _UNSTABLE.fullmatch(device):
        return ""
    found = _file_system(machine, device)
    return f"UUID={found['UUID']}" if "UUID" in found else ""


def _nfs(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    from bai_wizard.pages.storage.kinds.nfs import options_of

    return refuse_nfs(machine, volume.source, options_of(volume))


def _cephfs(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    if volume.secret_file and machine.entry(volume.secret_file) is None:
        return f"there is no {volume.secret_file}: put the key of the Ceph user there, readable for root alone"
    hosts = hosts_of(volume)
    if not hosts:
        return ""
    ports = [int(port) for port in re.findall(r":(\d+)(?=[,:])", volume.source)]
    said = ""
    for port in ports[:1] or (type_of("cephfs").port, 3300):
        said = refuse_host(machine, hosts, port, "a Ceph monitor")
        if not said:
            return ""
    return said


def _lustre(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    if machine.entry(type_of("lustre").helper) is None:
        return (
            "the Lustre client is not on this node, and no distribution has it: install the one of your storage's "
            f"vendor for the running kernel first ({type_of('lustre').page})"
        )
    return ""


def _xfs(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    device = device_of(machine, volume.device)
    if machine.entry(device) is None:
        return f"there is no {volume.device} on this node: look with «lsblk -f»"
    found = _file_system(machine, device)
    if not found:
        return (
            f"{volume.device} holds no file system that can be recognised. The wizard never formats: if nothing of "
            f"value is on it, make one with «mkfs.xfs {device}» and plan again"
        )
    if found.get("TYPE") != "xfs":
        return f"{volume.device} holds {found.get('TYPE', 'something')}, not xfs; nothing was done to it"
    return ""


def _bind(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    inside = [other.target for other in settings.volumes if other is not volume]
    if any(volume.source == path or volume.source.startswith(f"{path}/") for path in inside):
        return ""  # made by another volume of these answers
    entry = machine.entry(volume.source.rstrip("/"))
    if entry is None or entry.type != "directory":
        return f"{volume.source} is no directory on this node: mount the vendor's file system there first"
    return ""


def _fstab(machine: Machine, volume: Any, settings: StorageSettings) -> str:
    entry = parse_line(volume.line)
    if entry is None:
        return "the line has fewer than three fields"
    if entry.fstype in ("nfs", "nfs4"):
        options = split(entry.options)
        refused = judge("nfs", options).refused
        return "; ".join(refused) or refuse_nfs(machine, entry.source, options)
    return ""


def _file_system(machine: Machine, device: str) -> dict[str, str]:
    """What is on a device; nothing for an empty one. Raises CannotTell where blkid may not or cannot look: it gives
    the same code for that."""
    if not machine.is_root:
        raise CannotTell(f"{device}: needs root")
    answer = machine.look(["blkid", "-p", "-o", "export", device], deadline=6.0)
    if answer.code not in (0, 2) or (answer.code == 2 and answer.err.strip()):
        raise CannotTell(f"blkid {device}: {answer.err.strip()[-200:] or answer.code}")
    pairs = (line.partition("=") for line in answer.out.splitlines())
    return {name: value for name, _, value in pairs}


_QUESTIONS = {
    "nfs": _nfs,
    "cephfs": _cephfs,
    "lustre": _lustre,
    "xfs": _xfs,
    "bind": _bind,
    "fstab": _fstab,
}
