"""From volumes to steps, each type by its own module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import StorageSettings


def steps(settings: StorageSettings, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The steps of every volume in the order of the answers."""
    found: list[Step] = []
    for volume in settings.volumes:
        kind = import_module(f"bai_wizard.pages.storage.kinds.{volume.type}")
        found += kind.steps(volume, facts.volume(volume.name), context)
    return tuple(found)
