"""A directory on a disk of this node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.storage.facts import StorageFacts
from bai_wizard.pages.storage.kinds.top import top_steps

if TYPE_CHECKING:
    from bai_wizard.pages.storage.settings import LocalVolume


def steps(volume: LocalVolume, facts: StorageFacts, context: Context) -> tuple[Step, ...]:
    """The directory itself, never what it holds: `chown -R` over existing data is what nobody wants."""
    return top_steps(volume, facts, context, expects="directory")
