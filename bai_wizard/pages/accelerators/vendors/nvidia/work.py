"""What NVIDIA's part of the plan is made from: answers, facts, cards, and the decision about the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bai_wizard.core.facts import Known
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.driver import Install, Keep
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import NvidiaSettings

DRIVER = "accelerators.driver"
LOAD = "accelerators.load"
TOOLKIT = "accelerators.toolkit"
# dockerd looks for it once, when it starts (moby, daemon/devices_nvidia_linux.go).
HOOK = "/usr/bin/nvidia-container-runtime-hook"


@dataclass(frozen=True)
class Work:
    """All that the parts of the plan look at."""

    settings: NvidiaSettings
    facts: NvidiaFacts
    cards: tuple[Card, ...]
    decision: Install | Keep

    @property
    def names(self) -> data.PackageNames | None:
        """The driver's packages where one is to be installed."""
        if not isinstance(self.decision, Install):
            return None
        return data.names(self.decision.source, self.decision.branch, self.decision.flavour)

    @property
    def source(self) -> str:
        """The table of packages for this system; empty where there is none."""
        if not isinstance(self.facts.system, Known):
            return ""
        system = self.facts.system.value
        key = data.source_key(system.os, system.codename, self.settings.source)
        return key if data.has_source(key) else ""

    @property
    def needs_fabric(self) -> bool:
        """True on machines whose GPUs talk through NVSwitches."""
        return self.facts.switches > 0 or any(data.has_fabric(card.device) for card in self.cards)
