"""Paths of the system that must not be given away or used for data, and known types of file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join
from typing import NamedTuple

from msgspec import Struct

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.state import Mount

# Where the packages of all distributions put the engine's socket; /var/run is a link to /run.
DOCKER_SOCKET = "/run/docker.sock"


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a path as it is written, innermost first, without the root and the empty path."""
    while path := path.rstrip("/").rpartition("/")[0].rstrip("/"):
        yield path


class FileSystem(NamedTuple):
    """A file system by its name in fstab. `aliases` are its other names in fstab and mountinfo.

    `volume`: the volume type in the answers that mounts it. `is_network`: the server may be unreachable while the
    mount persists. `enforces_owners`: this node's kernel enforces owners and modes; a server may map users or ignore
    root. `has_attributes`: `chattr` can make a directory on it immutable. `resolves_source`: mountinfo shows
    addresses where fstab has host names, so only the path can be compared. `has_owners` is False if owners and modes
    come from the mount options, or if the file system is read-only.
    """

    name: str
    aliases: tuple[str, ...] = ()
    volume: str = ""
    is_network: bool = False
    enforces_owners: bool = False
    has_attributes: bool = True
    resolves_source: bool = False
    has_owners: bool = True


FILE_SYSTEMS = (
    *(
        FileSystem(name, enforces_owners=True)
        for name in ("ext2", "ext3", "ext4", "btrfs", "f2fs", "jfs", "bcachefs", "overlay", "tmpfs")
    ),
    FileSystem("xfs", volume="xfs", enforces_owners=True),
    FileSystem("zfs", enforces_owners=True, has_attributes=False),
    *(
        FileSystem(name, has_attributes=False, has_owners=False)
        for name in ("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "hfs", "iso9660", "udf")
    ),
    # mount.nfs replaces one name with the other, depending on the protocol version negotiated with the server.
    FileSystem("nfs", ("nfs4",), "nfs", is_network=True, has_attributes=False),
    FileSystem("ceph", ("ceph-fuse",), "cephfs", is_network=True, has_attributes=False, resolves_source=True),
    FileSystem("lustre", volume="lustre", is_network=True, resolves_source=True),
    FileSystem("wekafs", volume="weka", is_network=True, resolves_source=True),
    FileSystem("gpfs", volume="gpfs", is_network=True),
    FileSystem("beegfs", volume="beegfs", is_network=True),
    *(FileSystem(name, is_network=True, has_attributes=False, has_owners=False) for name in ("cifs", "smb3")),
    FileSystem("9p", is_network=True, has_attributes=False),
    FileSystem("glusterfs", ("fuse.glusterfs",), is_network=True),
    *(
        FileSystem(name, is_network=True)
        for name in ("smbfs", "afs", "gfs2", "ocfs2", "panfs", "fuse.s3fs", "fuse.sshfs")
    ),
)
_BY_NAME = {name: each for each in FILE_SYSTEMS for name in (each.name, *each.aliases)}
_FUSE = r"fuse(?:\..+|blk)?"
# A pattern for names in mountinfo. An automount point waits for its server; a FUSE process may have died.
MAY_HANG = "|".join((*(re.escape(name) for name, each in _BY_NAME.items() if each.is_network), "autofs", _FUSE))
_MAY_HANG, _IS_FUSE = re.compile(MAY_HANG), re.compile(_FUSE)


def file_system(name: str) -> FileSystem:
    """Return a file system by any of its names. Little is assumed of an unknown one."""
    return _BY_NAME.get(name) or FileSystem(name)


def family(name: str) -> str:
    """Return the canonical name of a file system; an unknown name is returned unchanged."""
    return file_system(name).name


def volume_type(name: str) -> str:
    """Return the volume type in the answers that mounts this file system; empty if none does."""
    return file_system(name).volume


def is_network(name: str) -> bool:
    """Whether the network must be up before this file system can be mounted."""
    return file_system(name).is_network


def may_hang(name: str) -> bool:
    """Whether access to a mount of this file system may hang because a server or process is gone."""
    return _MAY_HANG.fullmatch(name) is not None


def enforces_owners(name: str) -> bool:
    """Whether this node's kernel is known to enforce owners and modes on this file system."""
    return file_system(name).enforces_owners


def can_hold_images(name: str) -> bool:
    """Whether Docker can store layers on this file system, as far as is known."""
    return _IS_FUSE.fullmatch(name) is None and (name not in _BY_NAME or enforces_owners(name))


def has_attributes(name: str) -> bool:
    """Whether `chattr` can make a directory on this file system immutable, as far as is known."""
    return not name.startswith("fuse") and file_system(name).has_attributes


def has_owners(name: str) -> bool:
    """Whether files have their own owners and modes, as far as is known."""
    return file_system(name).has_owners


def resolves_source(name: str) -> bool:
    """Whether mountinfo shows addresses where fstab has host names."""
    return file_system(name).resolves_source


# These and everything in them belong to the system (Filesystem Hierarchy Standard 3.0 and later additions).
SEALED = frozenset(
    (
        "bin", "bin.usr-is-merged", "boot", "cdrom", "dev", "efi", "etc", "gnu", "initrd", "lib", "lib.usr-is-merged",
        "lib32", "lib64", "libo32", "libx32", "lost+found", "nix", "ostree", "proc", "root", "run", "sbin",
        "sbin.usr-is-merged", "selinux", "snap", "sys", "sysroot", "tmp", "usr",
    )
)  # fmt: skip
# These belong to the system themselves, but the directories below them are available to the site.
TOPS = frozenset(("home", "media", "mnt", "opt", "srv", "vfroot"))
# Below /var only state directories of Backend.AI; the wizard's own is excluded.
_STATE = re.compile(r"/var/lib/(?!bai-wizard(?:/|$))(?:backend\.?ai|bai)(?:[-_.][^/]*)?(?:/.*)?")
# Where programs keep installed and stored data; the programs, not the system, choose the names below.
STORES = ("/usr/local", "/var/cache", "/var/lib", "/var/local")
_SYSTEM_STATE = (
    "NetworkManager", "apt", "bai-wizard", "cloud", "dbus", "dpkg", "extrausers", "pam", "polkit-1", "private",
    "snapd", "sss", "sudo", "systemd", "ucf",
)  # fmt: skip
# System directories that are often separate file systems, besides SEALED.
_MOUNTED_SYSTEM = ("/var", "/var/lib", "/var/log", "/var/lib/docker", "/usr/local")
_SYSTEM_VAR = (
    "account", "backups", "cache", "crash", "lib", "local", "lock", "log", "mail", "opt", "run", "snap", "spool",
    "tmp", "www", "yp",
)  # fmt: skip
# Names that file systems and file managers create in an empty directory.
NOT_DATA = frozenset({"lost+found", ".snapshot", ".snapshots", ".zfs", ".Trash-0"})
# Home directories in /etc/passwd of accounts without a home.
NO_HOME = ("/nonexistent",)
_MAX_LINKS = 40


def plain(path: str) -> str:
    """Return an absolute path in its shortest form: single slashes, no trailing slash, no `.` or `..`."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def is_system(path: str, *, store: bool = False) -> bool:
    """Whether a path is a directory of the operating system, or inside one reserved for the system.

    With `store`, directories below STORES are allowed: they may hold a program's data, but are never a home
    directory.
    """
    path = plain(path)
    top, _, rest = path[1:].partition("/")
    if store and any(path.startswith(f"{location}/") for location in STORES):
        return path.startswith("/var/lib/") and path.split("/")[3] in _SYSTEM_STATE
    if top in SEALED or (top in TOPS and not rest):
        return True
    return top == "" or (top == "var" and not _STATE.fullmatch(path))


def resolved(view: NodeView, path: str) -> str:
    """Return where a path leads on this node, following symbolic links. Raises StepBlocked for endless links."""
    rest = [part for part in plain(path).split("/") if part]
    here, links = "/", 0
    while rest:
        part = rest.pop(0)
        entry = view.entry(join(here, part))
        if entry is None or entry.type != "link" or not entry.target:
            here = join(here, part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise StepBlocked(f"{path} contains too many symbolic links")
        target = plain(join(here, entry.target))
        rest = [*(one for one in target.split("/") if one), *rest]
        here = "/"
    return here


class Origin(Struct, frozen=True):
    """Where a directory really is: a path within a file system, which mounts can show in several places."""

    source: str
    device: str
    path: str

    def below(self, other: Origin) -> str | None:
        """Return the path relative to `other`: empty if both are the same, None if this is not below it."""
        same = self.device == other.device if self.device and other.device else self.source == other.source
        if not same or not f"{self.path}/".startswith(f"{other.path}/"):
            return None
        return self.path[len(other.path) :]


def holder(view: NodeView, directory: str) -> tuple[str, Mount] | None:
    """Return (mount point, mount) that contains a directory, judged by its name alone."""
    for here in (directory.rstrip("/") or "/", *parents(directory), "/"):
        mount = view.mount(here)
        if mount is not None:
            return here, mount
    return None


def origin(view: NodeView, path: str) -> Origin:
    """Return the origin of a resolved path, judged by mount names alone: the path is not accessed."""
    around = holder(view, path)
    if around is None:
        return Origin("", "", path.rstrip("/"))
    point, mount = around
    rest = path.rstrip("/")[len(point.rstrip("/")) :]
    source, bracket, part = mount.source.partition("[")
    part = part.removesuffix("]").rstrip("/") if bracket else ""
    server, colon, export = source.partition(":/")
    if colon:
        # Each mount of a server's file system may have a different device number.
        return Origin(f"{server}:", "", f"/{export}".rstrip("/") + part + rest)
    # `tmpfs`, `overlay` and similar names do not identify a particular file system.
    return Origin(source if "/" in source else f"{source} at {point}", mount.device, part + rest)


def _bound_system(view: NodeView, leads: str, store: bool) -> str:
    """Return the system directory that `leads` contains or shows through another mount; empty if none."""
    here = origin(view, leads)
    for point in ("/", *(f"/{name}" for name in sorted(SEALED)), *_MOUNTED_SYSTEM):
        if point != "/" and view.mount(point) is None:
            continue
        existing = origin(view, point)
        below = here.below(existing)
        if below is None:
            if existing.below(here) is not None and not f"{point}/".startswith(f"{leads}/"):
                return point
            continue
        alias = plain(point + below)
        if alias != leads and _holds_system(alias, store):
            return alias
    return ""


def _holds_system(path: str, store: bool) -> bool:
    """Like `is_system`, but below /var only for what the system uses: a site may use the rest (/var/home)."""
    if path.startswith("/var/") and path.split("/")[2] not in _SYSTEM_VAR:
        return False
    return is_system(path, store=store)


def refuse_system(view: NodeView, path: str, where: str, *, store: bool = False) -> None:
    """Raise StepBlocked if `path`, with links followed, is a system directory (see `is_system`).

    `where` is the key to change.
    """
    leads = resolved(view, path)
    for one in (plain(path), leads):
        if is_system(one, store=store):
            to = "" if one == plain(path) else f" leads to {one}, which"
            raise StepBlocked(f"{path}{to} is a directory of the operating system: choose another {where}")
    bound = _bound_system(view, leads, store)
    if bound:
        raise StepBlocked(
            f"{path} is another mount of {bound}, a directory of the operating system: choose another {where}"
        )


def refuse_taken(view: NodeView, path: str, account: str, where: str) -> None:
    """Raise StepBlocked if giving `path` to an account would take it from another user.

    This applies to a system directory; to a directory that is, contains or is inside the home of another account; and
    to one that does not belong to the account yet and contains files of others, belongs to another account, or,
    outside /home and /vfroot, is a mount point.
    """
    refuse_system(view, path, where)
    refuse_homes(view, path, account, where)
    leads = resolved(view, path)
    existing, owner = view.entry(leads), view.account(account)
    if existing is None or existing.type != "directory" or (owner is not None and existing.uid == owner.uid):
        return
    advice = (
        f"choose another {where}, or give it to the account yourself (chown {account}: {path}) if that is intended"
    )
    for other in view.accounts():
        if other.uid == existing.uid and existing.uid != 0:
            raise StepBlocked(f"{path} is in use and belongs to {other.name!r}: {advice}")
    # Manuals tell root to write version.txt into a new volume.
    names = [name for name in view.names(leads) if name not in NOT_DATA and name != "version.txt"]
    if names and existing.uid != 0:
        raise StepBlocked(f"{path} is in use and belongs to UID {existing.uid}: {advice}")
    below = any(one.startswith(("/home/", "/vfroot/")) for one in (plain(path), leads))
    if not below and (names or view.mount(leads) is not None):
        raise StepBlocked(f"{path} is in use and does not belong to {account!r}: {advice}")
    for name in names:
        entry = view.entry(join(leads, name))
        if entry is not None and (owner is None or entry.uid != owner.uid):
            raise StepBlocked(f"{path} is in use: it contains {name}, which belongs to UID {entry.uid}; {advice}")


def exported(source: str) -> Origin | None:
    """Return the origin of a server's export, such as `nas:/home`; None for a source that is not on a server."""
    server, colon, export = source.partition(":/")
    return Origin(f"{server}:", "", f"/{export}".rstrip("/")) if colon and "/" not in server else None


def refuse_homes(view: NodeView, path: str, account: str, where: str, shown: Origin | None = None) -> None:
    """Raise StepBlocked if `path` is, contains or is inside the home of an account other than `account`.

    Links are followed on both sides, and other mounts of the same file system are recognized. `shown`: what will be
    mounted at `path`, which is then not accessed.
    """
    leads = resolved(view, path) if shown is None else plain(path)
    here = shown or origin(view, leads)
    parents: dict[str, str] = {}
    for other in view.accounts():
        home = plain(other.home)
        if other.name == account or not other.home.startswith("/") or home in NO_HOME or is_system(home, store=True):
            continue
        really = _home_resolved(view, home, parents)
        existing = origin(view, really)
        if (
            any(f"{leads}/".startswith(f"{one}/") or f"{one}/".startswith(f"{leads}/") for one in (home, really))
            or here.below(existing) is not None
            or existing.below(here) is not None
        ):
            raise StepBlocked(f"{path} and {home}, the home of {other.name!r}, overlap: choose another {where}")


def _home_resolved(view: NodeView, home: str, parents: dict[str, str]) -> str:
    """Return where a home leads; its own path if unknown. `parents` caches resolved parent directories."""
    parent = dirname(home)
    try:
        if parent not in parents:
            parents[parent] = resolved(view, parent)
        return resolved(view, join(parents[parent], basename(home)))
    except (StateUnknown, KnownAfterApply, StepBlocked):
        return home
