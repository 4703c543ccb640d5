"""What the accelerators page knows of a node."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Fact


@dataclass(frozen=True)
class Card:
    """An accelerator on the PCI bus. `vendor` is the key of the data file; `driver` is empty where none holds it."""

    vendor: str
    address: str
    device: int
    model: str
    driver: str


@dataclass(frozen=True)
class AcceleratorsFacts:
    """`cards` are in the order of the bus; an empty tuple says that there are none."""

    cards: Fact[tuple[Card, ...]]
