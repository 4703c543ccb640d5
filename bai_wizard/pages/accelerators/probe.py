"""Looks for accelerators on the PCI bus, without any vendor's tool; then asks about those that are there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.machine.pci import PciDevice, scan
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, Card, Lacking, VendorFacts
from bai_wizard.pages.accelerators.vendors import common
from bai_wizard.pages.accelerators.vendors.nvidia import probe as nvidia
from bai_wizard.steps.docker_config import DAEMON_JSON

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings

NAMES = "/usr/share/misc/pci.ids"
# Lablup's monitor; asked where it is installed, for vendors that this wizard has no library for.
ALL_SMI = ("all-smi", "snapshot", "--format", "json", "--include", "gpu", "--timeout-ms", "3000")
ALL_SMI_DEADLINE = 6.0


def probe(machine: Machine, settings: AcceleratorsSettings, context: Context) -> AcceleratorsFacts:
    """The facts of the page; a node without accelerators is asked nothing more."""
    try:
        bus = scan(machine)
    except CannotTell as error:
        return AcceleratorsFacts(Unknown(str(error)))
    found = cards(machine, bus)
    facts = AcceleratorsFacts(found, container=machine.in_container())
    makers = dict.fromkeys(card.vendor for card in found.value)
    if not makers:
        return facts
    daemon_json = text_of(machine, DAEMON_JSON)
    others = tuple(_vendor(machine, facts, key, daemon_json, context) for key in makers if key != nvidia_key())
    about = nvidia.probe(machine, settings.nvidia, context, bus) if nvidia_key() in makers else None
    return AcceleratorsFacts(found, others, about, daemon_json, all_smi(machine) if others else (), facts.container)


def nvidia_key() -> str:
    """NVIDIA's name in the data file."""
    return "nvidia"


def cards(machine: Machine, bus: tuple[PciDevice, ...]) -> Known[tuple[Card, ...]]:
    """Every accelerator on the bus; a device that nobody here knows is no accelerator."""
    made = [(device, catalogue.maker(device)) for device in bus]
    return Known(
        tuple(
            Card(
                vendor.key,
                device.address,
                device.device,
                vendor.model(device) or listed_name(machine, device) or device.id,
                device.driver,
            )
            for device, vendor in made
            if vendor is not None
        )
    )


def listed_name(machine: Machine, device: PciDevice) -> str:
    """The device's name in the node's own list of PCI ids; empty without the list, or without the device in it."""
    mine = False
    for line in text_of(machine, NAMES).split("\n"):
        if line[:1] not in ("\t", "#", ""):
            mine = line.startswith(f"{device.vendor:04x}  ")
        elif mine and line.startswith(f"\t{device.device:04x}  "):
            return line.partition("  ")[2].strip()
    return ""


def _vendor(machine: Machine, facts: AcceleratorsFacts, key: str, daemon_json: str, context: Context) -> VendorFacts:
    found = facts.of(key)
    try:
        return common.look(machine, catalogue.vendor(key), found, daemon_json, context)
    except CannotTell as error:
        return VendorFacts(key, (), (Lacking(f"nobody can tell what is missing: {error}"),))


def all_smi(machine: Machine) -> tuple[tuple[str, str], ...]:
    """What all-smi tells of each card, as (name, what else); nothing where it is not installed or has no answer."""
    try:
        answer = machine.look(ALL_SMI, deadline=ALL_SMI_DEADLINE)
        found = json.loads(answer.out).get("gpus") or []
    except (CannotTell, ValueError, AttributeError):
        return ()
    return tuple((str(gpu.get("name", "")), _told(gpu)) for gpu in found if isinstance(gpu, dict))


def _told(gpu: dict[str, Any]) -> str:
    memory = gpu.get("total_memory")
    size = f"{int(memory) / 2**30:.0f} GiB" if isinstance(memory, int | float) and memory else ""
    detail = gpu.get("detail")
    driver = detail.get("driver_version", "") if isinstance(detail, dict) else ""
    return ", ".join(
        part for part in (size, f"driver {driver}" if driver else "", str(gpu.get("uuid") or "")) if part
    )


def text_of(machine: Machine, path: str) -> str:
    """A file's text; empty where it is not there or cannot be read."""
    try:
        return machine.text(path) or ""
    except CannotTell:
        return ""
