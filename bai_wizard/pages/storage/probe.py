"""Looks at each volume's path: what is mounted, whose it is, how much room there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.pages.storage.facts import StorageFacts, VolumeFacts

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import StorageSettings, VolumeSettings

T = TypeVar("T")


def probe(machine: Machine, settings: StorageSettings, context: Context) -> StorageFacts:
    """The facts of every volume. A share whose server is gone costs its own facts, after their deadline."""
    return StorageFacts(tuple(_volume(machine, volume) for volume in settings.volumes))


def _volume(machine: Machine, volume: VolumeSettings) -> VolumeFacts:
    path = volume.target
    mount = _fact(lambda: machine.mount(path))
    top = _fact(lambda: machine.entry(path))
    # A path that does not answer would cost the same deadline again.
    free: Fact[int] = Unknown(top.reason) if isinstance(top, Unknown) else _fact(lambda: machine.free_bytes(path))
    return VolumeFacts(volume.name, path, getattr(volume, "type", ""), mount, top, free)


def _fact(read: Callable[[], T | None]) -> Fact[T]:
    try:
        value = read()
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if value is None else Known(value)
