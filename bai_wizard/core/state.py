"""The states of the things on a node that the wizard reads and changes, each under a key.

A key names one thing (`file:/etc/hosts`, `user:bai`, `sysctl:net.core.somaxconn`); its state is one of the
dataclasses below, or None where the thing does not exist. Reading a node, predicting it, simulating it,
journalling it and undoing it all speak in these terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from bai_wizard.core.secret import Secret


class Key(NamedTuple):
    """Names one thing on the node: its sort and its name."""

    sort: str
    name: str

    def __str__(self) -> str:
        return f"{self.sort}:{self.name}"


EntryKind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True)
class Entry:
    """A file, directory or symbolic link. `mode` holds the permission bits only (0o7777)."""

    kind: ClassVar[str] = "entry"
    type: EntryKind
    uid: int
    gid: int
    mode: int
    content: bytes | None = None
    target: str | None = None

    def digest(self) -> str:
        """sha256 of a file's content in hex; empty for anything else."""
        from hashlib import sha256

        return sha256(self.content).hexdigest() if self.content is not None else ""

    def text(self) -> str | None:
        """The content as text, or None when it is not UTF-8 or no file."""
        if self.content is None:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None

    def attributes(self) -> str:
        """`uid:gid mode`, as shown beside a change."""
        return f"{self.uid}:{self.gid} {self.mode:04o}"


@dataclass(frozen=True)
class Account:
    """An entry of the user database. `local` is false for one that comes from a directory (LDAP, SSSD)."""

    kind: ClassVar[str] = "account"
    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    local: bool = True


@dataclass(frozen=True)
class Group:
    """An entry of the group database."""

    kind: ClassVar[str] = "group"
    name: str
    gid: int
    local: bool = True


@dataclass(frozen=True)
class Membership:
    """That a user is listed in a group. Its absence is None."""

    kind: ClassVar[str] = "membership"


@dataclass(frozen=True)
class Password:
    """A password field of the shadow file. `changed` counts days since 1970; None where the field is empty."""

    kind: ClassVar[str] = "password"
    hash: Secret
    changed: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Package:
    """An installed package. `version` is dpkg's; empty when it cannot be predicted."""

    kind: ClassVar[str] = "package"
    version: str
    held: bool = False


@dataclass(frozen=True)
class Unit:
    """A systemd unit. `enabled` is the word of `systemctl is-enabled`; `since` is seconds since 1970, 0 if never."""

    kind: ClassVar[str] = "unit"
    enabled: str
    active: str
    since: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Sysctl:
    """A live kernel parameter; fields are joined by one blank. `writable` is false where it belongs to the host."""

    kind: ClassVar[str] = "sysctl"
    value: str
    writable: bool = True


@dataclass(frozen=True)
class Mount:
    """What is mounted at a mount point, as mountinfo says."""

    kind: ClassVar[str] = "mount"
    source: str
    fstype: str
    options: str = field(default="", compare=False)


@dataclass(frozen=True)
class Flag:
    """A property that is set: the immutable attribute of a directory, for instance. Its absence is None."""

    kind: ClassVar[str] = "flag"


@dataclass(frozen=True)
class Image:
    """A container image in the engine's store. `id` is its digest."""

    kind: ClassVar[str] = "image"
    id: str
    size: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Tree:
    """A directory tree made as a whole (an interpreter, a venv). `digest` covers names, types, modes and sizes."""

    kind: ClassVar[str] = "tree"
    digest: str


@dataclass(frozen=True)
class Interpreter:
    """A Python in a directory of its own. `version` is exact (3.13.7); empty where it was left half built."""

    kind: ClassVar[str] = "interpreter"
    version: str


@dataclass(frozen=True)
class Venv:
    """A virtual environment. `version` is that of its Python, `home` the directory of that program."""

    kind: ClassVar[str] = "venv"
    version: str
    home: str


@dataclass(frozen=True)
class Download:
    """A file fetched by the wizard, known by its sha256."""

    kind: ClassVar[str] = "download"
    sha256: str


@dataclass(frozen=True)
class Library:
    """A shared library that a program here really loads. `version` is what it tells, `said` all the rest of it."""

    kind: ClassVar[str] = "library"
    version: str
    said: str = field(default="", compare=False)


State = (
    Entry
    | Account
    | Group
    | Membership
    | Password
    | Package
    | Unit
    | Sysctl
    | Mount
    | Flag
    | Image
    | Tree
    | Interpreter
    | Venv
    | Download
    | Library
)
States = dict[Key, State | None]


class Unpredictable:
    """The state of a thing that a step will change in a way nobody can predict."""


UNPREDICTABLE = Unpredictable()


def matches(predicted: State | Unpredictable | None, actual: State | None) -> bool:
    """True when the node is as was promised, as far as that could be promised at all."""
    if isinstance(predicted, Unpredictable):
        return True
    if isinstance(predicted, Package) and isinstance(actual, Package):
        return predicted.version in ("", actual.version) and predicted.held == actual.held
    if isinstance(predicted, Image) and isinstance(actual, Image):
        return predicted.id in ("", actual.id)
    return predicted == actual
