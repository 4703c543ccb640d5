"""The accelerators page: GPUs and NPUs, their drivers, and containers that see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.page import Page
from bai_wizard.pages import TITLES
from bai_wizard.pages.accelerators.plan import steps
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.summary import now

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.accelerators.checks import CHECKS

    return CHECKS


PAGE = Page(
    name="accelerators",
    title=TITLES["accelerators"],
    summary="GPUs and NPUs: drivers, libraries, and containers that see them.",
    settings=AcceleratorsSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
)
