"""What the accelerators page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Fact, Known
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts


@dataclass(frozen=True)
class Card:
    """An accelerator on the PCI bus. `vendor` is the key of the data file; `driver` is empty where none holds it."""

    vendor: str
    address: str
    device: int
    model: str
    driver: str


@dataclass(frozen=True)
class Lacking:
    """One thing that a vendor's cards need and this node does not have. `is_driver`: without it nothing works."""

    what: str
    is_driver: bool = False


@dataclass(frozen=True)
class VendorFacts:
    """A vendor whose cards are here: how many of which model, and what they lack.

    `models` are PCI device ids with their numbers, `groups` those of the vendor's groups that exist here.
    `has_own_setup`: the vendor's set-up is installed and enabled. `has_agent`: Backend.AI's agent is a service here.
    """

    key: str
    models: tuple[tuple[int, int], ...]
    lacking: tuple[Lacking, ...]
    groups: tuple[str, ...] = ()
    has_runtime: bool = False
    has_module: bool = False
    has_cdi: bool = False
    has_own_setup: bool = False
    has_agent: bool = False


@dataclass(frozen=True)
class AcceleratorsFacts:
    """`cards` are in the order of the bus; an empty tuple says that there are none.

    `vendors` are those other than NVIDIA. `daemon_json` is Docker's configuration file. `smi` is what all-smi told,
    where it is installed: a row for each card.
    """

    cards: Fact[tuple[Card, ...]]
    vendors: tuple[VendorFacts, ...] = ()
    nvidia: NvidiaFacts | None = None
    daemon_json: str = ""
    smi: tuple[tuple[str, str], ...] = ()
    container: bool = False

    def of(self, vendor: str) -> tuple[Card, ...]:
        """The cards of one vendor."""
        found = self.cards.value if isinstance(self.cards, Known) else ()
        return tuple(card for card in found if card.vendor == vendor)
