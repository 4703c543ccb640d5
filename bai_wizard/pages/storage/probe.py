"""Looks at each volume: what is mounted, whose it is, how much room there is, what speaks against mounting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell, NotYetKnown
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.view import NodeView
from bai_wizard.machine.deadline import side_by_side
from bai_wizard.pages.storage.facts import StorageFacts, VolumeFacts

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import StorageSettings

T = TypeVar("T")


def probe(machine: Machine, settings: StorageSettings, context: Context) -> StorageFacts:
    """The facts of every volume, all looked at at once: however many shares of a server that is gone there are, they
    cost one deadline, and their own facts.

    A volume that is mounted is not asked for again: its server is touched only where the plan needs to know.
    """
    volumes = tuple(side_by_side(lambda volume: _volume(machine, volume, settings), settings.volumes))
    by_wizard = [volume for volume in volumes if volume.type not in ("local", "existing")]
    new = any(isinstance(volume.mount, Absent) for volume in by_wizard)
    left = _left(machine, settings)
    if not new:
        return StorageFacts(volumes, left=left)
    from bai_wizard.pages.services import container_ids

    return StorageFacts(volumes, _fstab_is_sound(machine), container_ids(machine, context), left)


def _left(machine: Machine, settings: StorageSettings) -> tuple[str, ...]:
    """What an earlier run put into fstab for a volume that the answers had then."""
    from bai_wizard.core.blocks import BlockDamaged
    from bai_wizard.steps.fstab import FSTAB, own_entries

    try:
        entry = machine.entry(FSTAB)
        text = (entry.content or b"").decode("utf-8", "surrogateescape") if entry else ""
        listed = own_entries(text)
    except (CannotTell, BlockDamaged):
        return ()  # the steps that write to fstab say what is wrong with it
    named = {volume.target for volume in settings.volumes}
    return tuple(line.target for line in listed if line.target not in named)


def _beneath(machine: Machine, path: str) -> str:
    """The type of the file system that holds a mount point."""
    above = path.rpartition("/")[0]
    try:
        while above:
            found = machine.mount(above)
            if found is not None:
                return found.fstype
            above = above.rpartition("/")[0]
        root = machine.mount("/")
    except CannotTell:
        return ""
    return root.fstype if root else ""


def _volume(machine: Machine, volume: Any, settings: StorageSettings) -> VolumeFacts:
    path = volume.target
    mount = fact(lambda: machine.mount(path))
    top = fact(lambda: machine.entry(path))
    # A path that does not answer would cost the same deadline again.
    free: Fact[int] = Unknown(top.reason) if isinstance(top, Unknown) else fact(lambda: machine.free_bytes(path))
    facts = VolumeFacts(volume.name, path, volume.type, mount, top, free)
    if volume.type in ("local", "existing"):
        return facts
    return _with_source(machine, volume, settings, facts)


def _with_source(machine: Machine, volume: Any, settings: StorageSettings, facts: VolumeFacts) -> VolumeFacts:
    from bai_wizard.pages.storage.kinds.mounted import helper_of
    from bai_wizard.pages.storage.sources import refusal, stable_device, unknown_hosts

    helper = helper_of(volume)
    client = fact(lambda: machine.entry(helper)) if helper else Known(None)
    device = fact(lambda: stable_device(machine, volume.device)) if volume.type == "xfs" else Absent()
    new = isinstance(facts.mount, Absent)
    unknown = unknown_hosts(machine, volume) if new else ()
    return replace(
        facts,
        refused=refusal(machine, volume, settings) if new and not unknown else "",
        unknown_hosts=unknown,
        device=device.value if isinstance(device, Known) else "",
        client=not isinstance(client, Absent),
        beneath=_beneath(machine, volume.target) if new and volume.guard else "",
        on_root_disk=volume.type == "bind" and _is_on_root_disk(machine, volume, settings),
    )


def _is_on_root_disk(machine: Machine, volume: Any, settings: StorageSettings) -> bool:
    from bai_wizard.machine.readers.mounts import is_below
    from bai_wizard.steps.mounted_source import holder

    if any(is_below(volume.source, other.target) for other in settings.volumes if other is not volume):
        return False
    around = fact(lambda: holder(machine, volume.source))
    return isinstance(around, Known) and around.value[0] == "/"


def _fstab_is_sound(machine: Machine) -> bool:
    try:
        return machine.look(["findmnt", "--verify"], deadline=5.0).code == 0
    except CannotTell:
        return False


def fact(read: Callable[[], T | None]) -> Fact[T]:
    """What a read answers, None as Absent, no answer as Unknown."""
    try:
        value = read()
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if value is None else Known(value)


def predict(facts: StorageFacts, predicted: NodeView) -> StorageFacts:
    """Names that the aliases page of the same plan puts into /etc/hosts are known by then."""
    if not any(volume.unknown_hosts for volume in facts.volumes):
        return facts
    from bai_wizard.steps.hosts_lines import parse_lines

    try:
        entry = predicted.entry("/etc/hosts")
    except (CannotTell, NotYetKnown):
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
