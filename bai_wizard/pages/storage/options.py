"""Mount options of each type of volume: defaults, known, refused and rival ones, from `data/storage.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from msgspec import Struct, convert

from bai_wizard.core.paths import volume_type
from bai_wizard.data import read_toml
from bai_wizard.pages.storage.settings import REPEATED


class Type(Struct, frozen=True):
    """What `data/storage.toml` contains about a volume type."""

    fstype: str
    defaults: tuple[str, ...]
    packages: tuple[str, ...]
    helper: str
    refused: dict[str, str] = {}
    warned: dict[str, str] = {}
    known: dict[str, str] = {}
    port: int = 0
    page: str = ""
    missing: str = ""
    mounts_itself: str = ""
    shows_options: bool = True
    backend: str = "vfs"
    programs: str = ""


@cache
def _data() -> dict[str, Any]:
    return read_toml("storage.toml")


@cache
def type_of(name: str) -> Type:
    """Return the data of a volume type. Raises KeyError for a type that the wizard does not mount."""
    return convert(_data()[name], Type)


def type_names() -> tuple[str, ...]:
    """Return the volume types in the data file."""
    return tuple(name for name in _data() if name not in ("common", "vendor"))


def kind_of(fstype: str) -> str:
    """Return the volume type that mounts a file system; `other` if its options are not known."""
    return volume_type(fstype) or "other"


def vendors() -> tuple[str, ...]:
    """Return the vendors whose options are known."""
    return tuple(_data()["vendor"])


def vendor_options(vendor: str) -> tuple[str, ...]:
    """Return a vendor's options; none for the empty name."""
    return tuple(_data()["vendor"][vendor]["options"]) if vendor else ()


def backend_of(volume: object) -> tuple[str, str]:
    """Return the storage proxy's back end for a volume, and the programs that it runs beside the mount."""
    kind, vendor = getattr(volume, "type", ""), getattr(volume, "vendor", "")
    if vendor:
        chosen = _data()["vendor"][vendor]
        return chosen["backend"], chosen.get("programs", "")
    known = type_of(kind) if kind in type_names() else None
    return (known.backend, known.programs) if known else ("vfs", "")


def name_of(option: str) -> str:
    """`vers` of `vers=4.2`."""
    return option.partition("=")[0]


# Mutually exclusive options: each one of a row replaces the others.
_ROWS = (
    ("vers", "nfsvers"),
    ("ro", "rw"),
    ("auto", "noauto"),
    ("proto", "rdma", "tcp", "udp"),
    ("flock", "noflock", "localflock"),
    ("pquota", "prjquota", "pqnoenforce", "noquota"),
    ("bind", "rbind"),
)


def merged(*layers: Iterable[str]) -> tuple[str, ...]:
    """Merge the options of all layers in order; a later one replaces an earlier one of the same name or row."""
    result: dict[str, str] = {}
    for layer in layers:
        for option in layer:
            name = name_of(option)
            rivals = next((row for row in _ROWS if name in row), ())
            for rival in rivals:
                if rival != name:
                    result.pop(rival, None)
            result[option if name in REPEATED else name] = option
    return tuple(result.values())


FUSE = ("fuse", "fuse3", "fuseblk")
FUSE_PROGRAMS = frozenset(
    (
        "bindfs", "ceph", "ceph-fuse", "gcsfuse", "glusterfs", "goofys", "juicefs", "mergerfs", "mfsmount", "moosefs",
        "ntfs-3g", "s3fs", "sshfs", "weed",
    )
)  # fmt: skip
# `ssh_command` of sshfs, and options of ssh that sshfs passes on.
FUSE_COMMANDS = re.compile(r"(?i)command|provider|^configfile$|^include$")


def split(options: str) -> tuple[str, ...]:
    """Split an options field of fstab at the commas that are not within quotes."""
    return tuple(re.findall(r'(?:"[^"]*(?:"|$)|[^,"])+', options))


class Judgement(Struct, frozen=True):
    """Errors and warnings about options: `refused` keeps them from being written, `warned` is only shown."""

    refused: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def judge(kind: str, options: Sequence[str]) -> Judgement:
    """Check each option. Unknown ones cause a warning with the closest known one: findmnt accepts any option.

    Values of options are never repeated: they may be secrets.
    """
    known = type_of(kind) if kind in _data() else None
    known = None if known and known.mounts_itself else known
    warned = []
    for name in map(name_of, options):
        if known is None or _why_refused(kind, name):
            continue
        if name in known.warned:
            warned.append(f"`{name}`: {known.warned[name]}")
        elif not is_known(kind, name):
            warned.append(f"`{name}` is not a known option of {known.fstype}{_nearest(kind, name)}")
    return Judgement(refused(kind, options), tuple(warned))


def refused(kind: str, options: Sequence[str]) -> tuple[str, ...]:
    """Return the options that are never written, each with the reason, without searching for similar names."""
    named = ((name, _why_refused(kind, name)) for name in map(name_of, options))
    return tuple(f"`{name}`: {why}" for name, why in named if why)


def _why_refused(kind: str, name: str) -> str:
    never: dict[str, str] = _data()["common"]["refused"]
    name = name.lower()
    why = never.get(name) or (type_of(kind).refused.get(name) if kind in _data() else None)
    return why or ""


def program_fault(fstype: str, source: str, options: Sequence[str]) -> str:
    """Why a FUSE file system is not allowed in fstab; empty if it is allowed, and for every other type.

    mount runs, as root and through a shell, whatever program the type or the source names (mount.fuse(8)), and some
    of these programs run what their options name.
    """
    for kind, _, name in (each.partition(".") for each in fstype.split(",")):
        if kind not in FUSE:
            continue
        program, _, rest = (name, "", source) if name else source.partition("#")
        if program not in FUSE_PROGRAMS:
            listed = ", ".join(sorted(FUSE_PROGRAMS))
            return f"must not name a FUSE program other than {listed}: mount runs it as root"
        if rest.startswith("-"):
            return "must not have a source that begins with '-': the FUSE program would read it as an option"
        for option in options:
            if FUSE_COMMANDS.search(name_of(option)):
                return f"must not contain `{name_of(option)}`: its value would be run as root"
    return ""


def is_known(kind: str, name: str) -> bool:
    """Whether an option is known and therefore not a misspelling."""
    return name.lower().startswith("x-") or name in _data()["common"]["known"] or name in type_of(kind).known


def _nearest(kind: str, name: str) -> str:
    from difflib import get_close_matches

    result = get_close_matches(name, [*type_of(kind).known, *_data()["common"]["known"]], n=1, cutoff=0.6)
    return f"; did you mean `{result[0]}`?" if result else ""
