"""The node's PCI devices, as the kernel lists them: no vendor's tool, no child."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Machine

DEVICES = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"


@dataclass(frozen=True)
class PciDevice:
    """One function on the bus, with numbers as PCI has them.

    `kind` is class and subclass (0x0302: a 3D controller). `driver` is the kernel driver that holds it; empty where
    none does.
    """

    address: str
    vendor: int
    device: int
    kind: int
    driver: str = ""

    @property
    def id(self) -> str:
        """`10de:2330`, as lspci -n shows it."""
        return f"{self.vendor:04x}:{self.device:04x}"


def scan(machine: Machine) -> tuple[PciDevice, ...]:
    """Every device, by address. Raises CannotTell when the list, or one entry of it, cannot be read."""
    found = []
    for address in machine.names(DEVICES):
        text = machine.kernel_text(f"{DEVICES}/{address}/uevent")
        if text is None:
            text = _without_uevent(machine, address)
        if text:
            found.append(parse_uevent(address, text))
    return tuple(found)


def _without_uevent(machine: Machine, address: str) -> str:
    """The same from the device's other files, for copies of /sys that only have those; empty for no device."""
    names = ("vendor", "device", "class")
    vendor, device, kind = (machine.kernel_text(f"{DEVICES}/{address}/{name}") or "" for name in names)
    if not vendor:
        return ""
    held = [driver for driver in machine.names(DRIVERS) if address in machine.names(f"{DRIVERS}/{driver}")]
    lines = [f"DRIVER={driver}" for driver in held[:1]]
    return "\n".join([*lines, f"PCI_CLASS={kind}", f"PCI_ID={vendor.removeprefix('0x')}:{device.removeprefix('0x')}"])


def parse_uevent(address: str, text: str) -> PciDevice:
    """Reads a device's `uevent`: DRIVER, PCI_CLASS and PCI_ID, in hexadecimal. Raises CannotTell on another form."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    vendor, _, device = fields.get("PCI_ID", "").partition(":")
    try:
        # The class register has three bytes; the last one is the programming interface.
        kind = int(fields.get("PCI_CLASS", ""), 16) >> 8
        return PciDevice(address, int(vendor, 16), int(device, 16), kind, fields.get("DRIVER", ""))
    except ValueError as error:
        raise CannotTell(f"{DEVICES}/{address}/uevent has no PCI_CLASS and PCI_ID") from error
