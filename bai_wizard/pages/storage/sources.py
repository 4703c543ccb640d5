"""What a mount's source is, and whether it can be mounted: devices, and servers, which are queried with a timeout."""

from __future__ import annotations

import errno
import re
import sys
from ipaddress import ip_address
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.parse import json_value, whole
from bai_wizard.core.paths import enforces_owners, family, holder, resolves_source
from bai_wizard.core.state import Mount
from bai_wizard.pages.node_state import TCP_ANSWERS, probe_tcp
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.options import name_of

if TYPE_CHECKING:
    pass


_TAGS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}


def is_local(view: NodeView, path: str) -> bool:
    """Whether `path`, with links resolved, is known to be on a local file system."""
    around = holder(view, path)
    return around is not None and enforces_owners(around[1].fstype)


def is_same_mount(view: NodeView, result: Mount, source: str, fstype: str, options: str) -> bool:
    """Whether `result` is what an fstab line with these fields mounts."""
    if is_bind(options):
        return bind_source(view, source) == result.source
    if fstype != "auto" and family(result.fstype) != family(fstype):
        return False
    return _comparable_source(view, source, fstype) == _comparable_source(view, result.source, fstype)


def expected_mount(view: NodeView, source: str, fstype: str, options: str) -> Mount:
    """Predict what mountinfo will show once the line is mounted, as far as possible."""
    if is_bind(options):
        around = holder(view, source)
        # Use the family's name: a share mounted earlier in this plan is nfs in the plan and nfs4 on the node.
        return Mount(bind_source(view, source), family(around[1].fstype) if around else "none")
    if source.startswith("/dev/") or source.partition("=")[0] in _TAGS:
        return Mount(_comparable_source(view, source, fstype), fstype)
    return Mount(source, fstype)


def is_bind(options: str) -> bool:
    """Whether a line shows a directory at a second location."""
    return bool({"bind", "rbind"} & set(options.split(",")))


def bind_source(view: NodeView, directory: str) -> str:
    """Return mountinfo's name for a bind mount: the source of the containing mount, and the path below it.

    NFS includes the path in the source itself, as if it had been mounted by that name.
    """
    directory = directory.rstrip("/") or "/"
    around = holder(view, directory)
    if around is None:
        return directory
    point, mount = around
    part = directory[len(point.rstrip("/")) :]
    if family(mount.fstype) == "nfs":
        return f"{mount.source.rstrip('/')}{part}" if part else mount.source
    whole, bracket, root = mount.source.partition("[")
    root = root.rstrip("]") if bracket else ""
    return f"{whole}[{root}{part}]" if root + part else whole


def _comparable_source(view: NodeView, source: str, fstype: str) -> str:
    if family(fstype) == "nfs":
        server, _, path = source.partition(":/")
        return f"{server}:/{path.strip('/')}"
    if resolves_source(fstype):
        # Monitors and nodes are resolved to addresses, and the cluster's ID is inserted: only the path is comparable.
        parts = re.split(r":/|=/", source)
        return parts[-1].strip("/") if parts[1:] else source.rpartition("/")[2]
    return device_of(view, source)


def device_of(view: NodeView, source: str) -> str:
    """Return the device name for `UUID=…` and for links under /dev; the text itself if nothing is found."""
    tag, equals, value = source.partition("=")
    path = f"/dev/disk/{_TAGS[tag]}/{value}" if equals and tag in _TAGS else source
    if not path.startswith("/dev/") or path.startswith("/dev/mapper/"):
        return path
    entry = view.entry(path)
    if entry is not None and entry.type == "link" and entry.target:
        return normpath(join(dirname(path), entry.target))
    return path


VERSIONS = ("4.2", "4.1", "4.0", "3")
# Options that change how the server is reached, and that the trial mount therefore uses too.
_FOR_TRIAL = ("port", "sec", "proto", "mountport", "resvport", "noresvport")
_TRIAL_DEADLINE = 15.0
_UNSPOKEN = (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EPROTO, errno.ENOTSUP)


def addresses_of(machine: Machine, host: str) -> tuple[str, ...]:
    """Return the addresses of a host name; an address is returned as is. Empty if the name is unknown."""
    try:
        return (str(ip_address(host.strip("[]"))),)
    except ValueError:
        answer = machine.query(["getent", "ahosts", host], deadline=6.0)
    result = (line.split()[0] for line in answer.out.splitlines() if line.strip())
    return tuple(dict.fromkeys(result)) if answer.code == 0 else ()


def own_address(machine: Machine, towards: str) -> str:
    """Return this node's address as another one sees it; empty if unknown."""
    try:
        answer = machine.query(["ip", "-o", "route", "get", towards], deadline=3.0)
    except StateUnknown:
        return ""
    match = re.search(r"\bsrc (\S+)", answer.out)
    return match[1] if match else ""


def refuse_host(machine: Machine, hosts: tuple[str, ...], port: int, what: str) -> str:
    """Why none of these hosts can be reached at a TCP port; empty if one answers, or if that is unknown."""
    return _knock(machine, hosts, port, what)[1]


def _knock(machine: Machine, hosts: tuple[str, ...], port: int, what: str) -> tuple[str, str]:
    """The first address that answers, or else why none does. Some addresses of a name may be unreachable."""
    every = tuple(address for host in hosts for address in addresses_of(machine, host))
    answers = probe_tcp(machine, every, port)
    reached = next((address for address in every if answers.get(address) == "open"), "")
    if reached:
        return reached, ""
    return "", _silence(every, answers, port, what)


def _silence(every: tuple[str, ...], answers: dict[str, str], port: int, what: str) -> str:
    if any(word in TCP_ANSWERS for word in answers.values()):
        return f"{', '.join(every)} refuses connections to TCP port {port}: {what} is not running there"
    return (
        f"{', '.join(every)} does not respond on TCP port {port}: the server is down, the address is wrong, or a "
        "firewall drops the packets"
    )


def refuse_nfs(machine: Machine, source: str, options: tuple[str, ...]) -> str:
    """Why an NFS export cannot be mounted on this node now; empty if it can, or if that is unknown."""
    host, _, path = source.partition(":/")
    given = {name_of(option): option.partition("=")[2] for option in options}
    port = whole(given["port"]) if given.get("port", "").isdigit() else 2049
    if "rdma" in given or given.get("proto") == "rdma":
        return ""
    address, refused = _knock(machine, (host,), port, "NFS")
    # Kerberos needs this node's own daemon and tickets, which may only be installed with the client's packages.
    if refused or not machine.is_root or given.get("sec", "").startswith("krb5"):
        return refused
    asked = given.get("vers") or given.get("nfsvers") or ""
    wanted = _versions(asked)
    extra = ",".join(option for option in options if name_of(option) in _FOR_TRIAL and option != "proto=tcp")
    tried = _try(machine, address, f"/{path}", extra, wanted)
    if 0 in tried.values() or not tried:
        return ""
    if set(tried.values()) == {errno.ENODEV}:
        return (
            "the running kernel has no NFS client: install linux-modules-extra for it, or boot a kernel with the "
            "nfs module"
        )
    if asked and all(code in _UNSPOKEN for code in tried.values()):
        return _other_versions(machine, address, f"/{path}", extra, asked)
    return _mount_refusal(machine, address, f"/{path}", tried)


def _versions(asked: str) -> tuple[str, ...]:
    if not asked:
        return VERSIONS
    if asked == "4":
        return VERSIONS[:3]
    return (asked,)


def _try(machine: Machine, address: str, path: str, extra: str, versions: tuple[str, ...]) -> dict[str, int]:
    program = [sys.executable, "-I", "-S", volume_probes.__file__, "trial", address, path, extra, *versions]
    answer = machine.query(program, deadline=_TRIAL_DEADLINE)
    if answer.code != 0:
        raise StateUnknown(f"the trial mount failed: {answer.err.strip()[-200:]}")
    tried: dict[str, Any] = json_value(answer.out)
    # Without namespaces or permission to mount (in a container), the trial says nothing about the server.
    return {} if "errno" in tried or set(tried.values()) <= {errno.EPERM} else tried


def _other_versions(machine: Machine, address: str, path: str, extra: str, asked: str) -> str:
    others = tuple(version for version in VERSIONS if version not in _versions(asked))
    tried = _try(machine, address, path, extra, others)
    spoken = [version for version, code in tried.items() if code == 0]
    advice = f"; it supports {spoken[0]}: set the option vers={spoken[0]}" if spoken else ""
    return f"{address} does not support NFS version {asked}{advice}"


def _mount_refusal(machine: Machine, address: str, path: str, tried: dict[str, int]) -> str:
    if {errno.EACCES, errno.ENOENT} & set(tried.values()):
        exports = exports_of(machine, address)
        if exports is not None and path not in exports:
            message = ", ".join(exports[:10]) or "nothing"
            return (
                f"{address} does not export {path}; it exports {message}. NFS 4 paths may start at a different root"
            )
        mine = own_address(machine, address) or "this node's address"
        doubt = ", or the export does not exist" if exports is None else ""
        return (
            f"{address} does not allow this node to mount {path}{doubt}: have its administrator export it to "
            f"{mine}, for example `{path} {mine}(rw,sync,no_subtree_check)` in /etc/exports, then `exportfs -ra`"
        )
    message = ", ".join(f"version {version}: {_error_text(code)}" for version, code in tried.items())
    return f"{address}:{path} cannot be mounted ({message})"


def exports_of(machine: Machine, address: str) -> tuple[str, ...] | None:
    """Return what a server exports, according to itself; None if it does not answer or cannot be queried.

    A server answers "access denied" for a path that does not exist, and hides exports that this node cannot access.
    """
    try:
        answer = machine.query(["showmount", "--no-headers", "-e", address], deadline=6.0)
    except StateUnknown:
        return None
    return tuple(line.split()[0] for line in answer.out.splitlines() if line.strip()) if answer.code == 0 else None


def _error_text(code: int) -> str:
    import os

    return os.strerror(code).lower()


# Names that the kernel assigns at every boot, in the order in which disks are detected.
_UNSTABLE = re.compile(r"/dev/(sd|vd|nvme|hd|xvd|mmcblk)\S+")


def stable_device(machine: Machine, device: str) -> str:
    """Return `UUID=…` of the file system on a device whose name may change; empty if the name is stable."""
    if not _UNSTABLE.fullmatch(device):
        return ""
    result = file_system_on(machine, device)
    return f"UUID={result['UUID']}" if "UUID" in result else ""


def file_system_on(machine: Machine, device: str) -> dict[str, str]:
    """Return what is on a device; nothing for an empty one.

    Raises StateUnknown if blkid cannot read it or lacks permission: its exit code is the same for both.
    """
    if not machine.is_root:
        raise StateUnknown(f"{device}: needs root")
    answer = machine.query(["blkid", "-p", "-o", "export", device], deadline=6.0)
    if answer.code not in (0, 2) or (answer.code == 2 and answer.err.strip()):
        raise StateUnknown(f"blkid {device}: {answer.err.strip()[-200:] or answer.code}")
    pairs = (line.partition("=") for line in answer.out.splitlines())
    return {name: value for name, _, value in pairs}
