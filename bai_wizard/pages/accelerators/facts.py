"""The vendors of accelerators and their devices (data/accelerators.toml), and what is known about a node's cards."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from msgspec import Struct, convert

from bai_wizard.core.page import Absent, Fact, Known
from bai_wizard.data import read_toml
from bai_wizard.node.hardware import Gpu, Nvml, PciDevice
from bai_wizard.pages.node_state import System

ABSENT = Absent()


FABRIC_PACKAGES = ("nvidia-fabricmanager", "libnvidia-nscq")
# Drivers that reserve a device for a virtual machine (Linux, drivers/vfio/pci and drivers/pci/pci-stub.c; Xen).
PASSED_THROUGH = ("vfio-pci", "pci-stub", "nvgrace-gpu-vfio-pci", "pciback", "xen-pciback")


class Kernels(Struct, frozen=True):
    """`running` and `next` are releases (6.8.0-60-generic), `metas` the flavors with an installed metapackage."""

    running: str = ""
    next: str = ""
    metas: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Return both without duplicates."""
        return tuple(dict.fromkeys(release for release in (self.running, self.next) if release))


class GpuUser(Struct, frozen=True):
    """A process that uses the GPU at `address`; `container` is its name, or empty; `memory` in bytes, or 0."""

    address: str
    pid: int
    name: str = ""
    container: str = ""
    memory: int = 0


class NvidiaFacts(Struct, frozen=True):
    """`nvml` is Absent without its library, Unknown if the driver does not respond.

    `loaded` is the version of the kernel module, `is_open` its kind. `packages` are the installed packages of NVIDIA
    with their versions, `empty` those of the fabric manager without content. `nouveau` are the GPUs bound to the
    nouveau driver, `switches` the NVSwitches on the bus. `nvlink5`: they are behind ConnectX bridges, whose modules
    the kernels `without_bridge` lack. `runfile` describes how a driver that dpkg does not know was
    installed. `may_sign` is whether this firmware trusts modules built here. `runtimes` are the container engine's;
    `image` is one in which the test container can run. `users` are the processes on the GPUs.
    """

    system: Fact[System] = ABSENT
    kernels: Kernels = Kernels()
    nvml: Fact[Nvml] = ABSENT
    loaded: Fact[str] = ABSENT
    is_open: bool = False
    packages: tuple[tuple[str, str], ...] = ()
    empty: tuple[str, ...] = ()
    runfile: str = ""
    nouveau: tuple[str, ...] = ()
    switches: int = 0
    nvlink5: bool = False
    without_bridge: tuple[str, ...] = ()
    secure_boot: Fact[bool] = ABSENT
    may_sign: Fact[bool] = ABSENT
    cudart: Fact[str] = ABSENT
    runtimes: Fact[tuple[str, ...]] = ABSENT
    daemon_json: str = ""
    image: str = ""
    key: Fact[str] = ABSENT
    container: bool = False
    users: tuple[GpuUser, ...] = ()

    def version_of(self, package: str) -> str:
        """Return an installed package's version; empty if it is not installed."""
        return dict(self.packages).get(package, "")

    def named(self, *prefixes: str) -> tuple[str, ...]:
        """Return the installed packages whose names begin with one of these."""
        return tuple(name for name, _ in self.packages if name.startswith(prefixes))

    @property
    def has_switches(self) -> bool:
        """Whether the GPUs communicate through NVSwitches."""
        return self.switches > 0 or self.nvlink5

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that the driver knows."""
        return self.nvml.value.gpus if isinstance(self.nvml, Known) else ()

    @property
    def is_healthy(self) -> bool:
        """Whether a driver is loaded and responds."""
        return isinstance(self.nvml, Known) and self.nvml.value.is_healthy


class Vendor(Struct, frozen=True):
    """A vendor's accelerators and their requirements on a node; the fields are explained in the data file."""

    key: str
    name: str
    pci: str
    page: str
    devices: dict[str, str]
    classes: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    nodes: tuple[tuple[str, ...], ...] = ()
    groups: tuple[str, ...] = ()
    files: tuple[tuple[str, ...], ...] = ()
    runtime: str = ""
    runtime_path: str = ""
    load: tuple[str, ...] = ()
    load_comment: str = ""
    load_why: str = ""
    huge_pages: dict[str, int] = {}
    wheels: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    kernel: dict[str, str] = {}
    supported: tuple[str, ...] = ()
    only: str = ""
    memlock: bool = False

    def makes(self, device: PciDevice) -> bool:
        """Whether a PCI device is one of this vendor's accelerators."""
        if f"{device.vendor:04x}" != self.pci:
            return False
        return f"{device.kind:04x}" in self.classes or device.driver in self.bound or self.model(device) != ""

    def pages_for(self, devices: Iterable[int]) -> int:
        """Return the number of 1 GiB huge pages that the vendor reserves for cards with these PCI device ids."""
        return sum(self.huge_pages.get(f"{device:04x}", 0) for device in devices)

    def model(self, device: PciDevice) -> str:
        """Return the name of the model; empty for an unknown one."""
        return self.devices.get(f"{device.device:04x}", "")


@cache
def all_vendors() -> tuple[Vendor, ...]:
    """Return all vendors, in the order of the file."""
    return tuple(convert({"key": key, **table}, Vendor) for key, table in accelerator_data()["vendor"].items())


def vendor_of(key: str) -> Vendor:
    """Return a vendor by its key in the file. Raises KeyError for an unknown key."""
    return {entry.key: entry for entry in all_vendors()}[key]


def maker(device: PciDevice) -> Vendor | None:
    """Return the vendor of an accelerator; None for any other device."""
    return next((entry for entry in all_vendors() if entry.makes(device)), None)


@cache
def accelerator_data() -> dict[str, Any]:
    """Return the content of the data file."""
    return read_toml("accelerators.toml")


class Card(Struct, frozen=True):
    """An accelerator on the PCI bus. `vendor` is the key in the data file; `driver` is the bound driver, or empty."""

    vendor: str
    address: str
    device: int
    model: str
    driver: str

    @property
    def is_passed_through(self) -> bool:
        """Whether the card is reserved for a virtual machine, so that this node cannot use it."""
        return self.driver in PASSED_THROUGH and self.driver not in vendor_of(self.vendor).drivers


class MissingComponent(Struct, frozen=True):
    """Something that a vendor's cards need and this node lacks. `is_driver`: without it nothing works.

    `variant` names texts of the check of missing components.
    """

    what: str
    is_driver: bool = False
    variant: str = ""


class VendorFacts(Struct, frozen=True):
    """A vendor with cards on this node: the number of each model, and what is missing.

    `models` maps PCI device ids to counts, `groups` are the vendor's groups that exist here. `has_own_setup`: the
    vendor's setup is installed and enabled. `has_agent`: Backend.AI's agent is a service here.
    """

    key: str
    models: tuple[tuple[int, int], ...]
    missing: tuple[MissingComponent, ...]
    groups: tuple[str, ...] = ()
    has_runtime: bool = False
    has_module: bool = False
    has_cdi: bool = False
    has_own_setup: bool = False
    has_agent: bool = False


class AcceleratorsFacts(Struct, frozen=True):
    """`cards` are in bus order; an empty tuple means that the node has none.

    `vendors` are all but NVIDIA. `daemon_json` is Docker's configuration file. `smi` is the output of all-smi, if
    installed: one row per card. `tegra` is the name of a Jetson or another system whose GPU is part of the processor.
    """

    cards: Fact[tuple[Card, ...]]
    vendors: tuple[VendorFacts, ...] = ()
    nvidia: NvidiaFacts | None = None
    daemon_json: str = ""
    smi: tuple[tuple[str, str], ...] = ()
    container: bool = False
    tegra: str = ""

    def of(self, vendor: str) -> tuple[Card, ...]:
        """Return the cards of one vendor that this node can use."""
        result = self.cards.value if isinstance(self.cards, Known) else ()
        return tuple(card for card in result if card.vendor == vendor and not card.is_passed_through)

    @property
    def passed_through(self) -> tuple[Card, ...]:
        """The cards that are reserved for virtual machines."""
        result = self.cards.value if isinstance(self.cards, Known) else ()
        return tuple(card for card in result if card.is_passed_through)
