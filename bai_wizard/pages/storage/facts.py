"""What the storage page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass, field

from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.state import Entry, Mount


@dataclass(frozen=True)
class VolumeFacts:
    """One volume of the answers as it is on the node.

    `mount` is what is mounted at its path, Absent for nothing. `top` is the directory itself, without content.
    `free` is the room for ordinary users in bytes on the file system that holds the path or will hold it.
    `refused` says why its source cannot be mounted on this node as things are; empty where nothing speaks against
    it or nobody can tell. `unknown_hosts` are names of servers that the resolver does not know yet. `device` is a
    stable name (`UUID=…`) of a block device; empty where there is none.
    `client` is true where the program that mounts this type is on the node. `beneath` is the type of the file system
    that the mount point itself lies on; empty where nobody can tell. `on_root_disk` is true for a directory to be
    shown (bind) that no volume makes and that lies on the node's own root file system.
    """

    name: str
    path: str
    type: str
    mount: Fact[Mount]
    top: Fact[Entry]
    free: Fact[int]
    refused: str = ""
    unknown_hosts: tuple[str, ...] = ()
    device: str = ""
    client: bool = True
    beneath: str = ""
    on_root_disk: bool = False

    @property
    def silent(self) -> str:
        """Why a mounted volume does not answer; empty where it does. Room is asked of the server every time, while
        owner and mode may come from the client's memory for a minute after the server has gone."""
        if not isinstance(self.mount, Known):
            return ""
        return next((fact.reason for fact in (self.top, self.free) if isinstance(fact, Unknown)), "")


@dataclass(frozen=True)
class StorageFacts:
    """The volumes in the order of the answers.

    `fstab_is_sound` is true where findmnt finds no error in the lines that stand now: only then can it judge ours.
    `container` is (uid, gid) of containers as an existing agent.toml says. `left` are paths in the wizard's block of
    fstab that the answers do not name.
    """

    volumes: tuple[VolumeFacts, ...] = ()
    fstab_is_sound: bool = False
    container: Fact[tuple[int, int]] = field(default_factory=Absent)
    left: tuple[str, ...] = ()

    def volume(self, name: str) -> VolumeFacts | None:
        """The facts of one volume."""
        return next((volume for volume in self.volumes if volume.name == name), None)
