"""From the accelerators found and the answers to steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings


def steps(settings: AcceleratorsSettings, facts: AcceleratorsFacts, context: Context) -> tuple[Step, ...]:
    """None yet: the cards are shown."""
    return ()
