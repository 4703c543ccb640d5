"""What the storage page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Fact
from bai_wizard.core.state import Entry, Mount


@dataclass(frozen=True)
class VolumeFacts:
    """One volume of the answers as it is on the node.

    `mount` is what is mounted at its path, Absent for nothing. `top` is the directory itself, without content.
    `free` is the room for ordinary users in bytes on the file system that holds the path or will hold it.
    """

    name: str
    path: str
    type: str
    mount: Fact[Mount]
    top: Fact[Entry]
    free: Fact[int]


@dataclass(frozen=True)
class StorageFacts:
    """The volumes in the order of the answers."""

    volumes: tuple[VolumeFacts, ...] = ()

    def volume(self, name: str) -> VolumeFacts | None:
        """The facts of one volume."""
        return next((volume for volume in self.volumes if volume.name == name), None)
