"""What the images page knows of a node and of the registries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bai_wizard.core.facts import Absent, Fact

Standing = Literal["here", "offered", "not-found", "denied", "other-platform", "unknown"]


@dataclass(frozen=True)
class Wanted:
    """An image that is wanted. `canonical` is its name in Backend.AI's registry where it is taken from another."""

    reference: str
    is_starter: bool = False
    canonical: str = ""
    known: str = ""


@dataclass(frozen=True)
class Found:
    """What is known of one wanted image. `size` is compressed bytes to fetch, 0 where unknown or nothing.

    `ids` are the names that an engine may have the same content under: of its configuration, of its manifest.
    """

    wanted: Wanted
    standing: Standing
    size: int = 0
    reason: str = ""
    platforms: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archive:
    """What an archive file holds: references, image ids and architectures, one for each image with a name."""

    path: str
    sha256: str
    size: int
    references: tuple[str, ...]
    ids: tuple[str, ...]
    architectures: tuple[str, ...]


@dataclass(frozen=True)
class Room:
    """Free bytes on a file system, by its mount point."""

    mount: str
    free: int


@dataclass(frozen=True)
class ImagesFacts:
    """`architecture` is dpkg's name, empty where unknown. `archives` are (path, what it holds) pairs.

    `data_root` is where the engine keeps its data; layers lie in `content_root` as well where containerd's store is
    used; `engine_answers` says that the engine itself told both. `driver` is the version of NVIDIA's driver that is
    loaded. `authorities` are the certificates by registry.
    """

    architecture: str
    images: tuple[Found, ...] = ()
    archives: tuple[tuple[str, Fact[Archive]], ...] = ()
    data_root: str = "/var/lib/docker"
    uses_containerd: bool = False
    engine_answers: bool = False
    content_root: str = "/var/lib/containerd"
    rooms: tuple[Room, ...] = ()
    driver: Fact[str] = field(default_factory=Absent)
    authorities: tuple[tuple[str, Fact[str]], ...] = ()

    @property
    def platform(self) -> str:
        """As registries and the engine write it."""
        return f"linux/{self.architecture}" if self.architecture else ""

    def room_of(self, path: str) -> Room | None:
        """The file system that holds `path`; None where it is not known."""
        holding = [room for room in self.rooms if path == room.mount or path.startswith(room.mount.rstrip("/") + "/")]
        return max(holding, key=lambda room: len(room.mount)) if holding else None
