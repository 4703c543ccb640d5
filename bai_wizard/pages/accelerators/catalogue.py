"""What is known of vendors and their devices, over data/accelerators.toml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bai_wizard.data import read_toml
from bai_wizard.machine.pci import PciDevice


@dataclass(frozen=True)
class Vendor:
    """A vendor's accelerators and what they need on a node; the fields are explained in the data file."""

    key: str
    name: str
    pci: int
    page: str
    classes: tuple[int, ...] = ()
    bound: tuple[str, ...] = ()
    devices: tuple[tuple[int, str], ...] = ()
    drivers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    nodes: tuple[tuple[str, ...], ...] = ()
    groups: tuple[str, ...] = ()
    files: tuple[tuple[str, ...], ...] = ()
    runtime: str = ""
    runtime_path: str = ""
    load: tuple[str, ...] = ()
    huge_pages: tuple[tuple[int, int], ...] = ()
    wheels: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    memlock: bool = False

    def makes(self, device: PciDevice) -> bool:
        """True when a device on the bus is one of this vendor's accelerators."""
        if device.vendor != self.pci:
            return False
        return device.kind in self.classes or device.driver in self.bound or self.model(device) != ""

    def pages_for(self, devices: tuple[int, ...]) -> int:
        """How many huge pages of 1 GiB the vendor reserves for these cards, by their PCI device ids."""
        table = dict(self.huge_pages)
        return sum(table.get(device, 0) for device in devices)

    def model(self, device: PciDevice) -> str:
        """The model's name; empty for one that is not in the table."""
        return dict(self.devices).get(device.device, "")


@cache
def vendors() -> tuple[Vendor, ...]:
    """Every vendor, in the file's order."""
    return tuple(_vendor(key, table) for key, table in data()["vendor"].items())


def vendor(key: str) -> Vendor:
    """A vendor by its key in the file. Raises KeyError when there is none."""
    return {entry.key: entry for entry in vendors()}[key]


def maker(device: PciDevice) -> Vendor | None:
    """Whose accelerator a device is; None for one that is none."""
    return next((entry for entry in vendors() if entry.makes(device)), None)


def _vendor(key: str, table: dict[str, Any]) -> Vendor:
    lists = {
        name: tuple(table.get(name, ()))
        for name in ("bound", "drivers", "modules", "groups", "load", "setup", "wheels", "slots")
    }
    return Vendor(
        key=key,
        name=table["name"],
        pci=int(table["pci"], 16),
        page=table["page"],
        classes=tuple(int(kind, 16) for kind in table.get("classes", ())),
        devices=tuple((int(id, 16), name) for id, name in table["devices"].items()),
        nodes=tuple(tuple(choice) for choice in table.get("nodes", ())),
        files=tuple(tuple(choice) for choice in table.get("files", ())),
        runtime=table.get("runtime", ""),
        runtime_path=table.get("runtime_path", ""),
        huge_pages=tuple((int(id, 16), count) for id, count in table.get("huge_pages", {}).items()),
        memlock=table.get("memlock", False),
        **lists,
    )


@cache
def data() -> dict[str, Any]:
    """The data file as it is."""

    return read_toml("accelerators.toml")
