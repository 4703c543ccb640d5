"""The accelerators page: GPUs and NPUs, their drivers, and containers that see them."""

from __future__ import annotations

from collections import Counter

from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Check
from bai_wizard.core.page import Page
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.plan import steps
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.accelerators.checks import CHECKS

    return CHECKS


def now(facts: AcceleratorsFacts) -> tuple[tuple[str, str], ...]:
    """The accelerators, alike ones in a line."""
    if isinstance(facts.cards, Unknown):
        return (("Accelerators", f"cannot tell: {facts.cards.reason}"),)
    if not isinstance(facts.cards, Known) or not facts.cards.value:
        return (("Accelerators", "none in this node"),)
    counted = Counter((card.vendor, card.model, card.driver) for card in facts.cards.value)
    return tuple(
        (catalogue.vendor(vendor).name, f"{count} × {model} ({driver or 'no driver'})")
        for (vendor, model, driver), count in counted.items()
    )


PAGE = Page(
    name="accelerators",
    title="Accelerators",
    summary="GPUs and NPUs: drivers, libraries, and containers that see them.",
    settings=AcceleratorsSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
)
