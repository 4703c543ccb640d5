"""Mount options: the defaults of a type, a vendor's, the answers' own, and what is to be said about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bai_wizard.data import read_toml


@dataclass(frozen=True)
class Type:
    """What `data/storage.toml` knows of a type of volume. `seen` are the words mountinfo may use for `fstype`."""

    fstype: str
    seen: tuple[str, ...]
    defaults: tuple[str, ...]
    packages: tuple[str, ...]
    helper: str
    refused: dict[str, str]
    warned: dict[str, str]
    known: dict[str, str]
    port: int = 0
    page: str = ""


@cache
def _data() -> dict[str, Any]:
    return read_toml("storage.toml")


@cache
def type_of(name: str) -> Type:
    """What is known of a type of volume. Raises KeyError for one that is not mounted by the wizard."""
    table = _data()[name]
    lists: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Type(**lists)


# The types whose options are known by the word that stands in fstab; options of others are nobody's to judge.
BY_WORD = ("nfs", "cephfs", "lustre", "xfs")


@cache
def kind_of(fstype: str) -> str:
    """The type that a word of fstab or of mountinfo stands for; `other` where nobody knows its options."""
    words = {word: kind for kind in BY_WORD for word in (type_of(kind).fstype, *type_of(kind).seen)}
    return words.get(fstype, "other")


def has_no_attributes(fstype: str) -> bool:
    """True for a file system that `chattr` cannot make a directory of immutable."""
    words: list[str] = _data()["common"]["without_attributes"]
    return fstype in words or fstype.startswith("fuse")


def vendors() -> tuple[str, ...]:
    """The vendors whose options are known."""
    return tuple(_data()["vendor"])


def vendor_options(vendor: str) -> tuple[str, ...]:
    """A vendor's options; none for the empty name."""
    return tuple(_data()["vendor"][vendor]["options"]) if vendor else ()


def name_of(option: str) -> str:
    """`vers` of `vers=4.2`."""
    return option.partition("=")[0]


# Options that exclude each other: who gives one of a row takes the others back.
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
    """The options of all layers in order; a later one takes the place of an earlier one of its name or row."""
    result: dict[str, str] = {}
    for layer in layers:
        for option in layer:
            name = name_of(option)
            rivals = next((row for row in _ROWS if name in row), ())
            for rival in rivals:
                if rival != name:
                    result.pop(rival, None)
            result[name] = option
    return tuple(result.values())


def split(options: str) -> tuple[str, ...]:
    """The options of a field of fstab."""
    return tuple(option for option in options.split(",") if option)


@dataclass(frozen=True)
class Judgement:
    """What is to be said about options: `refused` keeps them from being written, `warned` is only told."""

    refused: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def judge(kind: str, options: Sequence[str]) -> Judgement:
    """Looks at each option. Unknown ones are warned about with the nearest known one: findmnt accepts them all.

    No value of an option is ever repeated: it may be a secret.
    """
    never: dict[str, str] = _data()["common"]["refused"]
    known = type_of(kind) if kind in _data() else None
    refused, warned = [], []
    for option in options:
        name = name_of(option)
        if name in never:
            refused.append(f"`{name}`: {never[name]}")
        elif known is None:
            continue
        elif name in known.refused:
            refused.append(f"`{name}`: {known.refused[name]}")
        elif name in known.warned:
            warned.append(f"`{name}`: {known.warned[name]}")
        elif not is_known(kind, name):
            warned.append(f"`{name}` is no option that is known for {known.fstype}{_nearest(kind, name)}")
    return Judgement(tuple(refused), tuple(warned))


def is_known(kind: str, name: str) -> bool:
    """Whether an option is none that looks like a misspelling."""
    return name.lower().startswith("x-") or name in _data()["common"]["known"] or name in type_of(kind).known


def _nearest(kind: str, name: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, [*type_of(kind).known, *_data()["common"]["known"]], n=1, cutoff=0.6)
    return f"; did you mean `{found[0]}`?" if found else ""
