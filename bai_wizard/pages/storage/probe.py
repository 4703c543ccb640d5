"""Probe each volume: what is mounted, its owner, free space, and reasons not to mount it."""

from __future__ import annotations

from posixpath import dirname
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from bai_wizard.core.errors import KnownAfterApply, StateUnknown
from bai_wizard.core.machine import Machine, NodeView, Space
from bai_wizard.core.page import Absent, Context, Fact, Known, Unknown, read_fact
from bai_wizard.core.paths import holder
from bai_wizard.core.state import Entry, Mount, is_below
from bai_wizard.node.deadline import map_concurrently
from bai_wizard.pages.node_state import container_ids
from bai_wizard.pages.storage.fstab import fstab_text, helper_of, own_entries
from bai_wizard.pages.storage.kinds import refusal, unknown_hosts
from bai_wizard.pages.storage.settings import MountedVolume, StorageSettings
from bai_wizard.pages.storage.sources import stable_device
from bai_wizard.steps.files import BlockDamaged
from bai_wizard.steps.hosts_lines import parse_lines


class VolumeFacts(Struct, frozen=True):
    """The current state of one volume of the answers.

    `mount` is what is mounted at its path, or Absent. `top` is the directory itself, without content. `free` is the
    space available to unprivileged users, in bytes, on the file system that contains or will contain the path, and
    `total` its size (0 if unknown).
    `refused` is why its source cannot currently be mounted on this node; empty if it can or if that is unknown.
    `unknown_hosts` are server names that the resolver does not know yet. `device` is a stable name (`UUID=…`) of a
    block device, or empty. `client` is whether the program that mounts this type is installed. `below` is the type of
    the file system that contains the mount point; empty if unknown. `on_root_disk` is true for a directory to be
    bind-mounted that no volume provides and that is on the node's root file system.
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
    below: str = ""
    on_root_disk: bool = False
    total: int = 0

    @property
    def silent(self) -> str:
        """Why a mounted volume does not answer; empty if it does.

        Free space is requested from the server every time, while owner and mode may come from the client's cache for
        a minute after the server became unreachable.
        """
        if not isinstance(self.mount, Known):
            return ""
        return next((fact.reason for fact in (self.top, self.free) if isinstance(fact, Unknown)), "")


class StorageFacts(Struct, frozen=True):
    """The volumes in the order of the answers.

    `fstab_is_sound` is whether findmnt finds no error in the current lines: only then can it judge ours. `container`
    is the (UID, GID) of containers in an existing agent.toml. `left` are paths in the wizard's block of fstab that
    the answers do not contain.
    """

    volumes: tuple[VolumeFacts, ...] = ()
    fstab_is_sound: bool = False
    container: Fact[tuple[int, int]] = field(default_factory=Absent)
    left: tuple[str, ...] = ()

    def volume(self, name: str) -> VolumeFacts | None:
        """Return the facts of one volume."""
        return next((volume for volume in self.volumes if volume.name == name), None)


def probe(machine: Machine, settings: StorageSettings, context: Context) -> StorageFacts:
    """Return the facts of every volume, probed concurrently.

    All shares of an unreachable server together cost one timeout, and only their facts remain unknown. A mounted
    volume is not queried further: its server is contacted only if the plan needs to know more.
    """
    volumes = tuple(map_concurrently(lambda volume: _volume(machine, volume, settings), settings.volumes))
    by_wizard = {volume.name for volume in settings.volumes if isinstance(volume, MountedVolume)}
    new = any(isinstance(volume.mount, Absent) for volume in volumes if volume.name in by_wizard)
    left = _left(machine, settings)
    if not new:
        return StorageFacts(volumes, left=left)
    return StorageFacts(volumes, _fstab_is_sound(machine), container_ids(machine, context), left)


def _left(machine: Machine, settings: StorageSettings) -> tuple[str, ...]:
    """Paths that an earlier run added to fstab for volumes no longer in the answers."""
    try:
        listed = own_entries(fstab_text(machine))
    except (StateUnknown, BlockDamaged):
        return ()  # the steps that write to fstab report what is wrong with it
    named = {volume.target for volume in settings.volumes}
    return tuple(line.target for line in listed if line.target not in named)


def _below(machine: Machine, path: str) -> str:
    """The type of the file system that contains a mount point."""
    try:
        around = holder(machine, dirname(path))
    except StateUnknown:
        return ""
    return around[1].fstype if around else ""


def _volume(machine: Machine, volume: Any, settings: StorageSettings) -> VolumeFacts:
    path = volume.target
    mount = read_fact(lambda: machine.mount(path))
    top = read_fact(lambda: machine.entry(path))
    # A path that does not answer would cost another timeout.
    space: Fact[Space] = Unknown(top.reason) if isinstance(top, Unknown) else read_fact(lambda: machine.space(path))
    free: Fact[int] = Known(space.value.free) if isinstance(space, Known) else space
    total = space.value.total if isinstance(space, Known) else 0
    facts = VolumeFacts(volume.name, path, volume.type, mount, top, free, total=total)
    if not isinstance(volume, MountedVolume):
        return facts
    return _with_source(machine, volume, settings, facts)


def _with_source(machine: Machine, volume: Any, settings: StorageSettings, facts: VolumeFacts) -> VolumeFacts:
    helper = helper_of(volume)
    client = read_fact(lambda: machine.entry(helper)) if helper else Known(None)
    device = read_fact(lambda: stable_device(machine, volume.device)) if volume.type == "xfs" else Absent()
    new = isinstance(facts.mount, Absent)
    unknown = unknown_hosts(machine, volume) if new else ()
    return replace(
        facts,
        refused=refusal(machine, volume, settings) if new and not unknown else "",
        unknown_hosts=unknown,
        device=device.value if isinstance(device, Known) else "",
        client=not isinstance(client, Absent),
        below=_below(machine, volume.target) if volume.guard else "",
        on_root_disk=volume.type == "bind" and _is_on_root_disk(machine, volume, settings),
    )


def _is_on_root_disk(machine: Machine, volume: Any, settings: StorageSettings) -> bool:
    if any(is_below(volume.source, other.target) for other in settings.volumes if other is not volume):
        return False
    around = read_fact(lambda: holder(machine, volume.source))
    return isinstance(around, Known) and around.value[0] == "/"


def _fstab_is_sound(machine: Machine) -> bool:
    try:
        return machine.query(["findmnt", "--verify"], deadline=5.0).code == 0
    except StateUnknown:
        return False


def predict(facts: StorageFacts, predicted: NodeView) -> StorageFacts:
    """Treat names as known that the aliases page of the same plan adds to /etc/hosts."""
    if not any(volume.unknown_hosts for volume in facts.volumes):
        return facts
    try:
        entry = predicted.entry("/etc/hosts")
    except (StateUnknown, KnownAfterApply):
        return facts
    text = (entry.content or b"").decode("utf-8", "surrogateescape") if entry else ""
    known = {name for line in parse_lines(list(enumerate(text.split("\n")))) for name in line.names}
    return replace(
        facts,
        volumes=tuple(
            replace(volume, unknown_hosts=tuple(host for host in volume.unknown_hosts if host not in known))
            for volume in facts.volumes
        ),
    )
