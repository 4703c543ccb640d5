"""Settings of [storage]: volumes under /vfroot, one class for each type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from bai_wizard.pages.fields import TAG, Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import AbsolutePath, MountOptions, OctalMode, PathOrEmpty, Shape, VolumeName

ROOT = "/vfroot"

NfsSource = Annotated[
    str,
    Shape(
        r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):/\S*",
        "must be a server and its export such as 10.20.30.50:/export/vol1",
    ),
]
_MONITOR = r"(?:[^\s:=,\[\]]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
CephSource = Annotated[
    str,
    Shape(
        rf"(?:{_MONITOR}(?:,{_MONITOR})*:/\S*|[^\s@=]+@[^\s=]*\.[^\s=]+=/\S*)",
        "must be monitors and a path such as mon1,mon2:/vol1, or user@.fsname=/vol1",
    ),
]
LustreSource = Annotated[
    str,
    Shape(
        r"[^\s:@]+(?:@[a-z0-9]+)?(?:[,:][^\s:@,]+(?:@[a-z0-9]+)?)*:/[A-Za-z0-9_.-]{1,8}(?:/\S*)?",
        "must be the management node and the file system such as 10.20.30.60@tcp:/scratch",
    ),
]
Device = Annotated[
    str,
    Shape(r"/dev/[^\s]+|(?:UUID|LABEL|PARTUUID|PARTLABEL)=\S+", "must be a block device such as /dev/sdb1 or UUID=…"),
]
FstabLine = Annotated[
    str,
    Shape(
        r"[^\s#]\S*[ \t]+\S+[ \t]+\S+(?:[ \t]+\S+){0,3}[ \t]*", "must be one line of fstab with three to six fields"
    ),
]
CephUser = Annotated[
    str, Shape(r"[A-Za-z0-9][A-Za-z0-9._-]*", "must be a Ceph user's name without `client.`", empty=True)
]

OWNER_HELP = "What to do about the owner of the top directory. Default: set on local and xfs, check on the others."
VERSION_HELP = (
    "What to do about version.txt, without which the storage proxy takes the volume for an old one."
    " Default: if-empty on local and xfs, check on the others."
)
OWNER = {"set": "give it to the operation account", "check": "only look", "keep": "do not look"}
VERSION_FILE = {"if-empty": "write it into an empty volume", "check": "only look", "no": "do not look"}


class VolumeSettings(SettingsPart):
    """What every volume has."""

    name: VolumeName = field(label="Name", help="The volume's name: the directory under /vfroot.", example="vol1")
    path: PathOrEmpty = field(
        "",
        label="Path",
        help="Where the volume is on this node. Empty: /vfroot and the name; it is the same on every node.",
    )
    outside_vfroot: bool = field(
        False, label="Outside /vfroot", help="Allows a path that does not lie under /vfroot."
    )
    owner: Literal["set", "check", "keep"] = field(
        "check",
        label="Owner",
        help=OWNER_HELP,
        choices=OWNER,
    )
    mode: OctalMode = field(
        "0755", label="Mode", help='Permissions of the volume\'s top directory, in octal. Used with owner = "set".'
    )
    version_file: Literal["if-empty", "check", "no"] = field(
        "check",
        label="version.txt",
        help=VERSION_HELP,
        choices=VERSION_FILE,
    )

    @property
    def target(self) -> str:
        """The path, or its default; without a slash at the end."""
        return (self.path or f"{ROOT}/{self.name}").rstrip("/") or "/"

    @property
    def permissions(self) -> int:
        """The mode as permission bits."""
        return int(self.mode, 8)

    def conflicts(self) -> Iterator[Conflict]:
        inside = self.target.startswith(ROOT + "/")
        if not inside and not self.outside_vfroot:
            yield Conflict(
                ("path",), "lies outside /vfroot; say outside_vfroot = true if that is meant", ("outside_vfroot",)
            )
        if "//" in self.path or "/./" in self.path or " " in self.path:
            yield Conflict(("path",), "must be a plain path without blanks, '//' and '/./'")
        if self.target.count("/") == 1:
            yield Conflict(("path",), "must not be a directory at the top of the file system")


def _refused(at: str, kind: str, options: str) -> Iterator[Conflict]:
    """Options that are never written, so wrong in themselves: a value may be a secret, and a plan would show it."""
    from bai_wizard.pages.storage.options import judge, split

    for said in judge(kind, split(options)).refused:
        yield Conflict((at,), f"must not contain {said}")


class MountedVolume(VolumeSettings):
    """What every volume has that is mounted by the wizard."""

    options: MountOptions = field(
        "", label="Options", help="Mount options, added to the defaults or taking their place.", example="nconnect=8"
    )
    guard: bool = field(
        True,
        label="Guard",
        help="Makes the empty mount point immutable, so that nothing goes to the root disk while it is not mounted.",
    )
    automount: bool = field(False, label="Automount", help="Mounts at first use instead of at boot.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        names = [option.partition("=")[0] for option in self.options.split(",") if option]
        if names:
            yield from _refused("options", getattr(self, "type", ""), self.options)
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Conflict(("options",), f"names `{name}` twice")


class LocalVolume(VolumeSettings):
    """A directory on a disk of this node."""

    type: Literal["local"] = field(help="A directory on a disk of this node.")
    owner: Literal["set", "check", "keep"] = field(
        "set",
        label="Owner",
        help=OWNER_HELP,
        choices=OWNER,
    )
    version_file: Literal["if-empty", "check", "no"] = field(
        "if-empty",
        label="version.txt",
        help=VERSION_HELP,
        choices=VERSION_FILE,
    )


class NfsVolume(MountedVolume):
    """An NFS export."""

    type: Literal["nfs"] = field(help="An NFS export, version 3 or 4.")
    source: NfsSource = field(label="Export", help="The server and its export.", example="10.20.30.50:/export/vol1")
    vendor: Literal["", "netapp", "purestorage", "vast", "dell-onefs", "hammerspace"] = field(
        "",
        label="Vendor",
        help="Takes this vendor's mount options over the defaults; yours win over both. Empty: the defaults only.",
        choices={
            "": "any NFS server",
            "netapp": "NetApp ONTAP",
            "purestorage": "Pure Storage FlashBlade",
            "vast": "VAST Data",
            "dell-onefs": "Dell PowerScale (OneFS)",
            "hammerspace": "Hammerspace",
        },
    )


class CephfsVolume(MountedVolume):
    """A CephFS file system."""

    type: Literal["cephfs"] = field(help="A CephFS file system by the kernel's client.")
    source: CephSource = field(label="Source", help="The monitors and the path.", example="mon1,mon2:/vol1")
    user: CephUser = field("", label="Ceph user", help="The Ceph user without `client.`. Empty: guest.")
    secret_file: PathOrEmpty = field(
        "", label="Key file", help="A file with the user's key. Only its path is written to fstab."
    )


class LustreVolume(MountedVolume):
    """A Lustre file system."""

    type: Literal["lustre"] = field(help="A Lustre file system; the vendor's client must be installed.")
    source: LustreSource = field(
        label="Source", help="The management node and the file system.", example="10.20.30.60@tcp:/scratch"
    )


class XfsVolume(MountedVolume):
    """An existing XFS on a block device."""

    type: Literal["xfs"] = field(
        help="An existing XFS on a block device. It is only mounted; an empty device is refused."
    )
    device: Device = field(label="Device", help="The block device.", example="/dev/sdb1")
    quota: bool = field(
        True, label="Project quota", help="Mounts with project quota, which the storage proxy's xfs volumes need."
    )
    owner: Literal["set", "check", "keep"] = field(
        "set",
        label="Owner",
        help=OWNER_HELP,
        choices=OWNER,
    )
    version_file: Literal["if-empty", "check", "no"] = field(
        "if-empty",
        label="version.txt",
        help=VERSION_HELP,
        choices=VERSION_FILE,
    )


class BindVolume(MountedVolume):
    """A directory elsewhere, shown under /vfroot."""

    type: Literal["bind"] = field(help="A directory elsewhere, such as a vendor's mount point, shown under /vfroot.")
    source: AbsolutePath = field(label="Directory", help="The directory to show.", example="/mnt/vendor/vol1")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        if self.source.rstrip("/") == self.target:
            yield Conflict(("source",), 'is the volume\'s own path; use type = "existing"', ("path", "name"))


class ExistingVolume(VolumeSettings):
    """A file system that the vendor's own client mounts."""

    type: Literal["existing"] = field(
        help="A file system that is mounted already by other means. It is only checked."
    )


class FstabVolume(MountedVolume):
    """A file system by a line of the user's own."""

    type: Literal["fstab"] = field(help="Any other file system, by a line of fstab of your own.")
    line: FstabLine = field(
        label="Line",
        help="The line for /etc/fstab; it is verified before it is put there.",
        example="srv:/v /vfroot/v nfs4 hard 0 0",
    )

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        _source, point, fstype, *rest = self.line.split()
        if point.rstrip("/") != self.target:
            yield Conflict(("line",), f"mounts elsewhere than at {self.target}", ("path", "name"))
        from bai_wizard.pages.storage.options import kind_of

        yield from _refused("line", kind_of(fstype), rest[0] if rest else "")


def _type(value: Any) -> str | None:
    """The tag of a volume; None (an error) for a type that does not exist."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return TAG + kind if kind in TYPES else None


TYPES = ("local", "nfs", "cephfs", "lustre", "xfs", "bind", "existing", "fstab")

Volume = Annotated[
    Annotated[LocalVolume, Tag("=local")]
    | Annotated[NfsVolume, Tag("=nfs")]
    | Annotated[CephfsVolume, Tag("=cephfs")]
    | Annotated[LustreVolume, Tag("=lustre")]
    | Annotated[XfsVolume, Tag("=xfs")]
    | Annotated[BindVolume, Tag("=bind")]
    | Annotated[ExistingVolume, Tag("=existing")]
    | Annotated[FstabVolume, Tag("=fstab")],
    Discriminator(
        _type,
        custom_error_type="sort_of_table",
        custom_error_message="must be a table whose `type` is one of " + ", ".join(TYPES),
        custom_error_context={"key": "type", "words": list(TYPES)},
    ),
]


class StorageSettings(SettingsTable):
    """Volumes for the users' data."""

    volumes: Many[Volume] = field(
        (),
        label="Volumes",
        help="The volumes of this node.",
        example=[
            {"name": "local", "type": "local"},
            {"name": "vol1", "type": "nfs", "source": "10.20.30.50:/export/vol1"},
        ],
        max_length=100,
    )

    def conflicts(self) -> Iterator[Conflict]:
        for key in ("name", "target"):
            seen: dict[str, int] = {}
            for place, volume in enumerate(self.volumes):
                value = getattr(volume, key)
                if value in seen and (key == "name" or self.volumes[seen[value]].name != volume.name):
                    at = "path" if key == "target" else "name"
                    yield Conflict(("volumes", place, at), f"is the same as that of volume {seen[value] + 1}")
                seen.setdefault(value, place)
