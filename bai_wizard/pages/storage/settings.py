"""Settings of [storage]: volumes under /vfroot, one class for each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from bai_wizard.core.parse import Unrepresentable, fstab_options
from bai_wizard.core.paths import is_system
from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import HIDDEN, AbsolutePath, MountOptions, OctalMode, PathOrEmpty, Pattern, VolumeName

ROOT = "/vfroot"
# Options that WEKA's client accepts several times: network devices and processor cores.
REPEATED = ("net", "core")

NfsSource = Annotated[
    str,
    Pattern(
        r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):/\S*",
        "must be a server and its export, such as 10.20.30.50:/export/vol1",
        public=True,
    ),
]
_MONITOR = r"(?:[^\s:=,\[\]]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
CephSource = Annotated[
    str,
    Pattern(
        rf"(?:{_MONITOR}(?:,{_MONITOR})*:/\S*|[^\s@=]+@[^\s=.]*\.[^\s=]+=/\S*)",
        "must be monitors and a path, such as mon1,mon2:/vol1, or user@.fsname=/vol1",
        public=True,
    ),
]
LustreSource = Annotated[
    str,
    Pattern(
        r"[^\s:@,]+(?:@[a-z0-9]+)?(?:[,:][^\s:@,]+(?:@[a-z0-9]+)?)*:/[A-Za-z0-9_.-]{1,8}(?:/\S*)?",
        "must be the management node and the file system, such as 10.20.30.60@tcp:/scratch",
        public=True,
    ),
]
WekaSource = Annotated[
    str,
    Pattern(
        r"(?:[A-Za-z0-9.:-]+(?:,[A-Za-z0-9.:-]+)*/)?[A-Za-z0-9_.-]+",
        "must be the back ends and the file system, such as weka1,weka2/default, or the file system alone",
        public=True,
    ),
]
Device = Annotated[
    str,
    Pattern(
        r"/dev/[^\s]+|(?:UUID|LABEL|PARTUUID|PARTLABEL)=\S+", "must be a block device, such as /dev/sdb1 or UUID=…"
    ),
]
_FIELD = rf"[^\s{HIDDEN}]+"
FstabLine = Annotated[
    str,
    Pattern(
        rf"(?!#){_FIELD}[ \t]+{_FIELD}[ \t]+{_FIELD}(?:[ \t]+{_FIELD}){{0,3}}[ \t]*",
        "must be one fstab line with three to six fields of printable characters",
        public=True,
    ),
]
CephUser = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*", "must be a Ceph user name without `client.`", empty=True)
]

Owner = Literal["set", "check", "keep"]
VersionFile = Literal["if-empty", "check", "no"]


def _owner(default: Owner) -> Any:
    return field(
        default,
        label="Owner",
        help="How to handle the owner of the top directory. Default: set for local and xfs, check for others.",
        choices={"set": "chown to the service account", "check": "check only", "keep": "ignore"},
    )


def _version_file(default: VersionFile) -> Any:
    return field(
        default,
        label="version.txt",
        help="How to handle version.txt; without it the storage proxy treats the volume as a legacy layout."
        " Default: if-empty for local and xfs, check for others.",
        choices={"if-empty": "write it to an empty volume", "check": "check only", "no": "ignore"},
    )


class VolumeSettings(SettingsPart):
    """What every volume has."""

    name: VolumeName = field(label="Name", help="The volume's name: the directory under /vfroot.", example="vol1")
    path: PathOrEmpty = field(
        "",
        label="Path",
        help="Where the volume is on this node. Empty: /vfroot and the name. Use the same path on every node.",
    )
    outside_vfroot: bool = field(False, label="Outside /vfroot", help="Allow a path outside /vfroot.")
    owner: Owner = _owner("check")
    mode: OctalMode = field(
        "0755", label="Mode", help='Permissions of the volume\'s top directory, in octal. Used with owner = "set".'
    )
    version_file: VersionFile = _version_file("check")

    @property
    def target(self) -> str:
        """The path or its default, without a trailing slash."""
        return (self.path or f"{ROOT}/{self.name}").rstrip("/") or "/"

    @property
    def permissions(self) -> int:
        """The mode as permission bits."""
        return int(self.mode, 8)

    def conflicts(self) -> Iterator[Conflict]:
        inside = self.target.startswith(ROOT + "/")
        if not inside and not self.outside_vfroot:
            yield Conflict(
                ("path",), "is outside /vfroot; set outside_vfroot = true if this is intended", ("outside_vfroot",)
            )
        if "//" in self.path or "/./" in self.path or " " in self.path:
            yield Conflict(("path",), "must be a plain path without spaces, '//' or '/./'")
        if is_system(self.target):
            yield Conflict(("path",), "must not be an operating system directory")
        elif self.target.count("/") == 1:
            yield Conflict(("path",), "must not be a top-level directory")


def _unwritable(at: str, option: str) -> Iterator[Conflict]:
    """Yield a conflict if a path that becomes part of a mount option would be several options."""
    try:
        fstab_options((option,))
    except Unrepresentable:
        yield Conflict(
            (at,), "must not contain spaces, commas, quotes, backslashes or '#', which are special in fstab"
        )


def _refused(at: str, kind: str, options: str) -> Iterator[Conflict]:
    """Yield conflicts for options that are never written, such as those with secrets, which a plan would show."""
    from bai_wizard.pages.storage.options import refused, split

    for output in refused(kind, split(options)):
        yield Conflict((at,), f"must not contain {output}")


class MountedVolume(VolumeSettings):
    """What every volume has that is mounted by the wizard."""

    options: MountOptions = field(
        "", label="Options", help="Mount options, added to the defaults or replacing them.", example="nconnect=8"
    )
    guard: bool = field(
        True,
        label="Guard",
        help="Make the empty mount point immutable, so that nothing is written to the root disk while unmounted.",
    )
    automount: bool = field(False, label="Automount", help="Mount on first use instead of at boot.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        names = [option.partition("=")[0] for option in self.options.split(",") if option]
        if names:
            yield from _refused("options", getattr(self, "type", ""), self.options)
        for name in sorted(name for name, times in Counter(names).items() if times > 1 and name not in REPEATED):
            yield Conflict(("options",), f"contains `{name}` twice")


class LocalVolume(VolumeSettings):
    """A directory on a disk of this node."""

    type: Literal["local"] = field(help="A directory on a disk of this node.")
    owner: Owner = _owner("set")
    version_file: VersionFile = _version_file("if-empty")


class NfsVolume(MountedVolume):
    """An NFS export."""

    type: Literal["nfs"] = field(help="An NFS export, version 3 or 4.")
    source: NfsSource = field(label="Export", help="The server and its export.", example="10.20.30.50:/export/vol1")
    vendor: Literal["", "netapp", "purestorage", "vast", "dell-onefs", "hammerspace"] = field(
        "",
        label="Vendor",
        help="Add this vendor's mount options to the defaults. Your own override both. Empty: the defaults only.",
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

    type: Literal["cephfs"] = field(help="A CephFS file system, mounted with the kernel client.")
    source: CephSource = field(label="Source", help="The monitors and the path.", example="mon1,mon2:/vol1")
    user: CephUser = field("", label="Ceph user", help="The Ceph user without `client.`. Empty: guest.")
    secret_file: PathOrEmpty = field(
        "", label="Key file", help="A file with the user's key. Only its path is written to fstab."
    )

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        if self.secret_file:
            yield from _unwritable("secret_file", self.secret_file)


class LustreVolume(MountedVolume):
    """A Lustre file system."""

    type: Literal["lustre"] = field(help="A Lustre file system; the vendor's client must be installed.")
    source: LustreSource = field(
        label="Source", help="The management node and the file system.", example="10.20.30.60@tcp:/scratch"
    )


class WekaVolume(MountedVolume):
    """A WEKA file system."""

    type: Literal["weka"] = field(help="A WEKA file system (wekafs); the WEKA agent must be installed.")
    source: WekaSource = field(
        label="Source", help="The back ends and the file system.", example="weka1,weka2,weka3/default"
    )


class XfsVolume(MountedVolume):
    """An existing XFS on a block device."""

    type: Literal["xfs"] = field(
        help="An existing XFS on a block device. It is only mounted; an empty device is refused."
    )
    device: Device = field(label="Device", help="The block device.", example="/dev/sdb1")
    quota: bool = field(
        True, label="Project quota", help="Mount with project quota, which the storage proxy's xfs volumes need."
    )
    owner: Owner = _owner("set")
    version_file: VersionFile = _version_file("if-empty")


class BindVolume(MountedVolume):
    """Bind mount of another directory."""

    type: Literal["bind"] = field(help="A bind mount of another directory, such as a vendor's mount point.")
    source: AbsolutePath = field(label="Directory", help="The directory to bind-mount.", example="/mnt/vendor/vol1")

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        yield from _unwritable("source", self.source)
        if is_system(self.source):
            yield Conflict(("source",), "must not be an operating system directory")
        if self.source.rstrip("/") == self.target:
            yield Conflict(("source",), 'is the volume\'s own path; use type = "existing"', ("path", "name"))


class ExistingVolume(VolumeSettings):
    """A file system that the vendor's own client mounts."""

    type: Literal["existing"] = field(
        help="A file system that is already mounted by other means. It is only checked."
    )


class GpfsVolume(VolumeSettings):
    """An IBM Storage Scale (GPFS) file system."""

    type: Literal["gpfs"] = field(
        help="An IBM Storage Scale (GPFS) file system, which GPFS itself mounts. It is only checked."
    )


class BeegfsVolume(VolumeSettings):
    """A BeeGFS file system."""

    type: Literal["beegfs"] = field(help="A BeeGFS file system, which its client service mounts. It is only checked.")


class FstabVolume(MountedVolume):
    """Custom /etc/fstab entry."""

    type: Literal["fstab"] = field(help="Any other file system, mounted by a custom /etc/fstab entry.")
    line: FstabLine = field(
        label="Line",
        help="The /etc/fstab entry. It is verified before it is added.",
        example="srv:/v /vfroot/v nfs4 hard 0 0",
    )

    def conflicts(self) -> Iterator[Conflict]:
        yield from super().conflicts()
        from bai_wizard.pages.storage.fstab import FstabEntry, read_line
        from bai_wizard.pages.storage.options import kind_of, program_fault, split

        entry = read_line(self.line)
        if not isinstance(entry, FstabEntry):
            yield Conflict(("line",), entry or "mounts nothing")
            return
        if entry.target != self.target:
            yield Conflict(("line",), f"mounts at a path other than {self.target}", ("path", "name"))
        yield from _refused("line", kind_of(entry.fstype), entry.options)
        options = split(entry.options)
        fault = program_fault(entry.fstype, entry.source, (*options, *split(self.options)))
        if fault:
            yield Conflict(("line",), fault)
        if {"bind", "rbind"}.intersection(options) and is_system(entry.source):
            yield Conflict(("line",), "must not mount an operating system directory")


Volume = (
    LocalVolume
    | NfsVolume
    | CephfsVolume
    | LustreVolume
    | WekaVolume
    | GpfsVolume
    | BeegfsVolume
    | XfsVolume
    | BindVolume
    | ExistingVolume
    | FstabVolume
)


class StorageSettings(SettingsTable):
    """Volumes for user data."""

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
            for index, volume in enumerate(self.volumes):
                value = getattr(volume, key)
                if value in seen and (key == "name" or self.volumes[seen[value]].name != volume.name):
                    at = "path" if key == "target" else "name"
                    yield Conflict(("volumes", index, at), f"is the same as for volume {seen[value] + 1}")
                seen.setdefault(value, index)
