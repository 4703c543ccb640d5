"""Looks for accelerators on the PCI bus, without any vendor's tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.machine.pci import scan
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, Card

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings


def probe(machine: Machine, settings: AcceleratorsSettings, context: Context) -> AcceleratorsFacts:
    """The facts of the page."""
    return AcceleratorsFacts(cards=cards(machine))


def cards(machine: Machine) -> Fact[tuple[Card, ...]]:
    """Every accelerator on the bus; a device that nobody here knows is no accelerator."""
    try:
        found = scan(machine)
    except CannotTell as error:
        return Unknown(str(error))
    made = [(device, catalogue.maker(device)) for device in found]
    return Known(
        tuple(
            Card(vendor.key, device.address, device.device, vendor.model(device) or device.id, device.driver)
            for device, vendor in made
            if vendor is not None
        )
    )
