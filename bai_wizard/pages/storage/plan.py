"""From volumes to steps, each type by its own module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.steps.left_volume import LeftVolume

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import StorageSettings


def steps(settings: StorageSettings, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The client programs that are missing, then the steps of every volume in the order of the answers."""
    found: list[Step] = [*_clients(settings, facts)]
    for volume in settings.volumes:
        kind = import_module(f"bai_wizard.pages.storage.kinds.{volume.type}")
        found += kind.steps(volume, facts, context)
    found += [LeftVolume(id=f"storage.left.{number}", path=path) for number, path in enumerate(facts.left, start=1)]
    return tuple(found)


def _clients(settings: StorageSettings, facts: StorageFacts) -> tuple[Step, ...]:
    missing = [volume for volume in settings.volumes if (known := facts.volume(volume.name)) and not known.client]
    if not missing:
        return ()
    from bai_wizard.pages.storage.kinds.mounted import packages_of
    from bai_wizard.steps.apt import PackageLists, Packages

    names = tuple(dict.fromkeys(name for volume in missing for name in packages_of(volume)))
    if not names:
        return ()
    return (
        PackageLists(id="storage.lists", packages=names),
        Packages(id="storage.client", names=names, why="programs that mount shared storage"),
    )
