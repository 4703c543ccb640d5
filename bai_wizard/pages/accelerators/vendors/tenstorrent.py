"""Tenstorrent: huge pages of 1 GiB, through which card and host exchange data."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import VendorFacts
from bai_wizard.steps.huge_pages import HugePages


def steps(facts: VendorFacts, context: Context) -> tuple[Step, ...]:
    """As many as the vendor's own set-up reserves; nothing where that one is installed and does it."""
    devices = tuple(device for device, count in facts.models for _ in range(count))
    pages = catalogue.vendor(facts.key).pages_for(devices)
    if not pages or facts.has_own_setup:
        return ()
    return (
        HugePages(id="accelerators.huge-pages", count=pages, why="through which Tenstorrent cards exchange data"),
    )
