"""From the accelerators found and the answers to steps. A node without any has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Unknown
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import catalogue, docker
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, VendorFacts
from bai_wizard.pages.accelerators.vendors import amd, gaudi, tenstorrent
from bai_wizard.pages.accelerators.vendors.nvidia.plan import Parts, parts
from bai_wizard.steps.refusal import Refusal

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings

# Vendors that need more than the data file says; their drivers come from the vendors themselves.
SPECIAL: dict[str, Callable[[VendorFacts, Context], tuple[Step, ...]]] = {
    "amd": amd.steps,
    "gaudi": gaudi.steps,
    "tenstorrent": tenstorrent.steps,
}


def steps(settings: AcceleratorsSettings, facts: AcceleratorsFacts, context: Context) -> tuple[Step, ...]:
    """Packages, Docker's configuration, the drivers, and what needs them, in an order that a reboot may cut."""
    if isinstance(facts.cards, Unknown):
        title = "the accelerators of this node"
        reason = f"nobody can tell which ones there are: {facts.cards.reason}"
        return (Refusal(id="accelerators.cards", title=title, reason=reason, optional=True),)
    nvidia = _nvidia(settings, facts, context)
    if any(isinstance(step, Refusal) and not step.optional for step in nvidia.packages):
        return nvidia.packages
    return (
        *nvidia.packages,
        *docker.configuration(settings, facts),
        *(step for vendor in facts.vendors for step in _vendor(vendor, facts, context)),
        *nvidia.load,
        *docker.restart(settings, facts),
        *nvidia.services,
    )


def _nvidia(settings: AcceleratorsSettings, facts: AcceleratorsFacts, context: Context) -> Parts:
    cards = facts.of("nvidia")
    if settings.nvidia is None or facts.nvidia is None or not cards:
        return Parts(())
    return parts(settings.nvidia, facts.nvidia, cards, context)


def _vendor(vendor: VendorFacts, facts: AcceleratorsFacts, context: Context) -> tuple[Step, ...]:
    """What this wizard does for a vendor; a missing driver stands in the plan with the vendor's instructions."""
    known = catalogue.vendor(vendor.key)
    missing = [lack.what for lack in vendor.lacking if lack.is_driver]
    if missing:
        reason = f"{'; '.join(missing)}. The driver comes from the vendor: {known.page}"
        title = f"{known.name}'s driver"
        return (Refusal(id=f"accelerators.{vendor.key}-driver", title=title, reason=reason, optional=True),)
    own = SPECIAL.get(vendor.key)
    return own(vendor, context) if own is not None and not facts.container else ()
