"""What mountinfo will say of a mount, given what fstab says: names are resolved by the kernel and by helpers."""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath

from bai_wizard.core.state import Mount
from bai_wizard.core.view import NodeView

_TAGS = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}
# Words of one family: mount.nfs turns the one into the other by the version it agrees on with the server.
_FAMILY = {"nfs4": "nfs", "ceph-fuse": "ceph"}


def family(fstype: str) -> str:
    """One word for all names of a type of file system."""
    return _FAMILY.get(fstype, fstype)


def is_same_mount(view: NodeView, found: Mount, source: str, fstype: str, options: str) -> bool:
    """Whether `found` is what a line of fstab with these fields mounts."""
    if is_bind(options):
        return bind_source(view, source) == found.source
    if fstype != "auto" and family(found.fstype) != family(fstype):
        return False
    return _normal(view, source, fstype) == _normal(view, found.source, fstype)


def expected(view: NodeView, source: str, fstype: str, options: str) -> Mount:
    """What mountinfo will show once the line is mounted, as far as it can be said before."""
    if is_bind(options):
        around = holder(view, source)
        # By the family's word: a share that is mounted just before is nfs in the plan and nfs4 on the node.
        return Mount(bind_source(view, source), family(around[1].fstype) if around else "none")
    if source.startswith("/dev/") or source.partition("=")[0] in _TAGS:
        return Mount(_normal(view, source, fstype), fstype)
    return Mount(source, fstype)


def is_bind(options: str) -> bool:
    """True for a line that shows a directory at a second place."""
    return bool({"bind", "rbind"} & set(options.split(",")))


def bind_source(view: NodeView, directory: str) -> str:
    """How mountinfo names a directory's bind mount: the source of the mount it lies on, and the part below it.

    NFS writes the part into the source itself, as if it had been mounted by that name.
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


def holder(view: NodeView, directory: str) -> tuple[str, Mount] | None:
    """The mount that a directory lies on, by its name alone: (mount point, mount)."""
    here = directory.rstrip("/") or "/"
    while True:
        mount = view.mount(here)
        if mount is not None:
            return here, mount
        if here == "/":
            return None
        here = dirname(here)


def _normal(view: NodeView, source: str, fstype: str) -> str:
    if family(fstype) == "nfs":
        server, _, path = source.partition(":/")
        return f"{server}:/{path.strip('/')}"
    if fstype in ("ceph", "lustre"):
        # Monitors and nodes are resolved to addresses, and the cluster's id is put in: the path alone stays.
        return re.split(r":/|=/", source)[-1].strip("/")
    return device_of(view, source)


def device_of(view: NodeView, source: str) -> str:
    """The device's own name for `UUID=…` and for links under /dev; the text itself where nothing is found."""
    tag, equals, value = source.partition("=")
    path = f"/dev/disk/{_TAGS[tag]}/{value}" if equals and tag in _TAGS else source
    if not path.startswith("/dev/") or path.startswith("/dev/mapper/"):
        return path
    entry = view.entry(path)
    if entry is not None and entry.type == "link" and entry.target:
        return normpath(join(dirname(path), entry.target))
    return path
