"""The states of the objects on a node that the wizard reads and changes, each identified by a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

from bai_wizard.core.secret import Secret

# Fields that version 0.1.0 did not have are listed in `omitted_if_default` of their class: they are written only if
# set, so that data of 0.1.0 keeps its form and a plan of 0.1.0 keeps its digest.


class Key(NamedTuple):
    """Identifies one object on the node by kind and name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Registered(Struct, frozen=True):
    """A struct whose subclasses are found by their `kind` in a plan or journal. A hierarchy has its own `kinds`."""

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Register the kind. Two kinds with the same name are a bug."""
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__ and cls.kinds.setdefault(cls.kind, cls) is not cls:
            raise ValueError(f"{cls.kinds[cls.kind].__name__} and {cls.__name__} have the same kind {cls.kind!r}")


class ComparedInPart(Struct, frozen=True, eq=False):
    """A struct that is equal to another of its type if all fields are equal except those in `not_compared`."""

    not_compared: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ComparedInPart) and type(self) is type(other) and self._compared() == other._compared()
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # Struct has a `__ne__` of its own, which compares identities here

    def __hash__(self) -> int:
        return hash((type(self), self._compared()))

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name not in self.not_compared)


class State(Registered, frozen=True):
    """The state of one object on the node. None means that the object is absent."""

    kinds: ClassVar[dict[str, type[Any]]] = {}

    def matches(self, actual: State | None) -> bool:
        """Whether this prediction, as far as it was possible, agrees with the actual state."""
        return self == actual


EntryKind = Literal["file", "directory", "link", "other"]


class Entry(State, frozen=True):
    """A file, directory or symbolic link. `mode` holds the permission bits only (0o7777)."""

    kind: ClassVar[str] = "entry"
    type: EntryKind
    uid: int
    gid: int
    mode: int
    content: bytes | None = None
    target: str | None = None

    def digest(self) -> str:
        """SHA-256 of a file's content in hex; empty for anything else."""
        from hashlib import sha256

        return sha256(self.content).hexdigest() if self.content is not None else ""

    def text(self) -> str | None:
        """Return the content as text; None if it is not UTF-8 or not a file."""
        if self.content is None:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None

    def attributes(self) -> str:
        """Return `uid:gid mode`, as shown beside a change."""
        return f"{self.uid}:{self.gid} {self.mode:04o}"


class Account(State, frozen=True):
    """An entry of the user database. `local` is false if it comes from a directory service (LDAP, SSSD)."""

    kind: ClassVar[str] = "account"
    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    local: bool = True


class Group(State, frozen=True):
    """An entry of the group database."""

    kind: ClassVar[str] = "group"
    name: str
    gid: int
    local: bool = True


class Membership(State, frozen=True):
    """Membership of a user in a group. None if absent."""

    kind: ClassVar[str] = "membership"


class Password(ComparedInPart, State, frozen=True):
    """A password field of the shadow file. `changed` is in days since 1970; None if the field is empty."""

    kind: ClassVar[str] = "password"
    not_compared: ClassVar[tuple[str, ...]] = ("changed",)
    hash: Secret
    changed: int | None = None


# The version of a Python distribution whose metadata exists but whose code does not.
INCOMPLETE = "incomplete"


class Package(State, frozen=True):
    """An installed package. `version` is dpkg's; empty if it cannot be predicted."""

    kind: ClassVar[str] = "package"
    version: str
    held: bool = False

    def matches(self, actual: State | None) -> bool:
        return isinstance(actual, Package) and self.version in ("", actual.version) and self.held == actual.held


class Hold(State, frozen=True):
    """A package hold, possibly of a package that is not installed: apt neither changes nor installs it."""

    kind: ClassVar[str] = "hold"


class Unit(ComparedInPart, State, frozen=True):
    """A systemd unit.

    `enabled` is the output of `systemctl is-enabled`. `since` is when its process was started, or when a unit without
    one became active, in seconds since 1970; 0 if never. `needs_reload`: its files changed after systemd read them.
    """

    kind: ClassVar[str] = "unit"
    not_compared: ClassVar[tuple[str, ...]] = ("since", "needs_reload")
    enabled: str
    active: str
    since: float = 0.0
    needs_reload: bool = False


class Sysctl(State, frozen=True):
    """A live kernel parameter; fields are joined by single spaces. `writable` is false if it belongs to the host."""

    kind: ClassVar[str] = "sysctl"
    value: str
    writable: bool = True


class Mount(ComparedInPart, State, frozen=True):
    """What is mounted at a mount point, according to mountinfo. `device` is its number, such as `8:1`, if known."""

    kind: ClassVar[str] = "mount"
    not_compared: ClassVar[tuple[str, ...]] = ("options", "device")
    omitted_if_default: ClassVar[tuple[str, ...]] = ("device",)
    source: str
    fstype: str
    options: str = ""
    device: str = ""


class Flag(State, frozen=True):
    """A property that is set, such as the immutable attribute of a directory. None if absent."""

    kind: ClassVar[str] = "flag"


class Image(ComparedInPart, State, frozen=True):
    """A container image in the engine's store. `id` is its digest.

    `moved`: the name has been moved to an image of another repository in the same registry.
    """

    kind: ClassVar[str] = "image"
    not_compared: ClassVar[tuple[str, ...]] = ("size", "moved")
    omitted_if_default: ClassVar[tuple[str, ...]] = ("moved",)
    id: str
    size: int = 0
    moved: str = ""

    def matches(self, actual: State | None) -> bool:
        return isinstance(actual, Image) and self.id in ("", actual.id)


class Tree(State, frozen=True):
    """A directory tree created as a whole (an interpreter, a venv). `digest` covers names, types, modes and sizes."""

    kind: ClassVar[str] = "tree"
    digest: str


class Interpreter(State, frozen=True):
    """A Python installation in a directory. `version` is exact (3.13.7); empty if its build was interrupted."""

    kind: ClassVar[str] = "interpreter"
    version: str


class Venv(State, frozen=True):
    """A virtual environment. `version` is that of its Python; `home` is the directory of that interpreter.

    `fault` describes a problem with its link to that Python; empty without one.
    """

    kind: ClassVar[str] = "venv"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("fault",)
    version: str
    home: str
    fault: str = ""


class Download(State, frozen=True):
    """A file downloaded by the wizard, identified by its SHA-256."""

    kind: ClassVar[str] = "download"
    sha256: str


class Unfinished(State, frozen=True):
    """Interrupted dpkg work: packages that are neither installed nor removed. None without any.

    Of `packages`, the removal of `removing` was interrupted, and `damaged` have to be unpacked again; these two
    include an architecture if they have one (`libc6:i386`).
    """

    kind: ClassVar[str] = "unfinished"
    packages: tuple[str, ...]
    removing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


class Library(ComparedInPart, State, frozen=True):
    """A shared library as actually loaded on this node.

    `version` is what it reports, `said` the rest of its output.
    """

    kind: ClassVar[str] = "library"
    not_compared: ClassVar[tuple[str, ...]] = ("said",)
    version: str
    said: str = ""


States = dict[Key, State | None]


class Unpredictable:
    """The state of an object that a step will change in an unpredictable way."""


UNPREDICTABLE = Unpredictable()


def matches(predicted: State | Unpredictable | None, actual: State | None) -> bool:
    """Whether the node matches the prediction, as far as a prediction was possible."""
    if isinstance(predicted, Unpredictable):
        return True
    return actual is None if predicted is None else predicted.matches(actual)


# Reloading systemd's unit files and refreshing apt's package lists: actions without a persistent state.
RELOAD = Key("restart", "systemd")
LISTS_KEY = Key("package-lists", "apt")
# Kinds of key that only record an action; they have no persistent state.
WITHOUT_STATE = ("restart", "command", "package-lists")
# Interrupted work of dpkg.
DPKG_KEY = Key("dpkg", "unfinished")


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or inside it."""
    return path == top or path.startswith(top.rstrip("/") + "/")


# Keys by name: a path, a unit, a package, or an image by its full reference.
file_key = partial(Key, "file")
tree_key = partial(Key, "tree")
interpreter_key = partial(Key, "interpreter")
venv_key = partial(Key, "venv")
download_key = partial(Key, "download")
package_key = partial(Key, "package")
image_key = partial(Key, "image")
unit_key = partial(Key, "unit")
restart_key = partial(Key, "restart")


def command_key(argv: Sequence[str], account: str = "") -> Key:
    """The key of running a command: all arguments, quoted as for a shell, and the account."""
    from shlex import join

    return Key("command", f"{account}: {join(argv)}" if account else join(argv))


def restoring_key(path: str) -> Key:
    """The key of restoring the files at a path: an action without a persistent state."""
    return Key("command", f"restore {path}")


def member_key(user: str, group: str) -> Key:
    """The key of a user's membership in a group."""
    return Key("member", f"{group}:{user}")


def distribution_key(venv: str, name: str) -> Key:
    """The key of a Python package in a virtual environment; its state is a Package."""
    return Key("distribution", f"{venv}:{name}")
