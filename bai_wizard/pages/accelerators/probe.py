"""Find accelerators on the PCI bus without any vendor's tool, then what each vendor's cards need and lack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from math import inf
from posixpath import basename, dirname
from typing import Any

from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Known, Unknown, read_fact, value_or
from bai_wizard.core.parse import json_value, whole
from bai_wizard.node.hardware import PciDevice, scan_pci
from bai_wizard.pages.accelerators.facts import (
    AcceleratorsFacts,
    Card,
    MissingComponent,
    Vendor,
    VendorFacts,
    maker,
    vendor_of,
)
from bai_wizard.pages.accelerators.nvidia import probe as nvidia
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.steps import RESERVED
from bai_wizard.steps.docker import DAEMON_JSON
from bai_wizard.steps.services import SECTION, default_limit, limit_of, unit_file, unit_settings

LOADED_MODULES = "/sys/module"
# The agent passes its own limit on to the containers (lablup/backend.ai, get_safe_ulimit).
AGENT, MEMLOCK = "backendai-agent.service", "LimitMEMLOCK"
CDI = ("/etc/cdi", "/run/cdi")
# The directories of systemd's links for enabled units.
WANTED_BY = ("/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/sysinit.target.wants")


def vendor_facts(
    machine: Machine, vendor: Vendor, cards: tuple[Card, ...], daemon_json: str, context: Context
) -> VendorFacts:
    """Return the facts of a vendor with cards on this node. Raises StateUnknown."""
    loaded = machine.names(LOADED_MODULES)
    return VendorFacts(
        key=vendor.key,
        models=tuple(Counter(card.device for card in cards).items()),
        missing=tuple(_lacking(machine, vendor, cards, daemon_json, context)),
        groups=tuple(name for name in vendor.groups if machine.group(name) is not None),
        has_runtime=bool(vendor.runtime_path) and machine.entry(vendor.runtime_path) is not None,
        has_module=all(module in loaded for module in vendor.modules[:1]),
        has_own_setup=any(
            machine.entry(f"{directory}/{unit}") is not None for unit in vendor.setup for directory in WANTED_BY
        ),
        has_agent=unit_file(machine, AGENT) is not None,
        has_cdi=any(name.startswith(vendor.key) for directory in CDI for name in machine.names(directory)),
    )


def _lacking(
    machine: Machine, vendor: Vendor, cards: tuple[Card, ...], daemon_json: str, context: Context
) -> Iterator[MissingComponent]:
    yield from _missing_driver(machine, vendor, cards)
    yield from _unsupported(machine, vendor, cards)
    for choice in vendor.files:
        if all(machine.entry(path) is None for path in choice):
            yield MissingComponent(f"{' or '.join(choice)} is missing")
    account = machine.account(context.account)
    for name in vendor.groups:
        group = machine.group(name)
        if group is None:
            yield MissingComponent(f"the group {name} does not exist")
        elif account is not None and account.gid != group.gid and not machine.is_member(account.name, name):
            yield MissingComponent(f"{account.name} is not a member of the group {name}")
    if vendor.runtime and f'"{vendor.runtime}"' not in daemon_json:
        yield MissingComponent(f"the container runtime {vendor.runtime} is not registered with Docker")
    if vendor.memlock and (limit := locked_memory(machine)) not in (None, inf):
        yield MissingComponent(
            f"{AGENT} can lock only {limit / 2**20:.0f} MiB of memory, but sessions with these cards need no limit"
            ' (memlock = "unlimited" in services of [tuning])'
        )
    pages = vendor.pages_for(tuple(card.device for card in cards))
    existing = machine.kernel_text(RESERVED) if pages else None
    if pages and whole(existing or 0) < pages:
        yield MissingComponent(f"{pages} huge pages of 1 GiB are needed, but only {existing or 0} reserved")


def _unsupported(machine: Machine, vendor: Vendor, cards: tuple[Card, ...]) -> Iterator[MissingComponent]:
    """Models that the driver does not support on this kernel, or that the plug-in does not support at all."""
    release = machine.kernel_text(nvidia.RELEASE) or ""
    models = {f"{card.device:04x}": card.model for card in cards}
    for device, model in models.items():
        least = vendor.kernel.get(device, "")
        if least and release and version_of(release) < version_of(least):
            what = f"{model} needs Linux {least} or later, and this node runs {release}"
            yield MissingComponent(what, is_driver=True, variant="kernel")
        if vendor.supported and device not in vendor.supported:
            what = f"Backend.AI's plug-in has no resource slot for {model}"
            yield MissingComponent(f"{what} ({vendor.only})" if vendor.only else what, variant="no-slot")


def version_of(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a kernel release or version."""
    return tuple(whole(number) for number in re.findall(r"\d+", text)[:2])


def locked_memory(machine: Machine) -> float | None:
    """Return how many bytes the agent's service, and thus its sessions, can lock; None without such a service."""
    if unit_file(machine, AGENT) is None:
        return None
    given = (one.value for one in unit_settings(machine, AGENT, SECTION, MEMLOCK))
    return (limit_of(MEMLOCK, given) or default_limit(machine, MEMLOCK))[1]


def _missing_driver(machine: Machine, vendor: Vendor, cards: tuple[Card, ...]) -> Iterator[MissingComponent]:
    loaded = machine.names(LOADED_MODULES)
    for module in vendor.modules:
        if module not in loaded:
            yield MissingComponent(f"the kernel module {module} is not loaded", is_driver=module == vendor.modules[0])
    unbound = [card.address for card in cards if vendor.drivers and card.driver not in vendor.drivers]
    if unbound:
        yield MissingComponent(f"the vendor's driver does not control {', '.join(unbound)}", is_driver=True)
    missing = [choice for choice in vendor.nodes if not any(matching(machine, pattern) for pattern in choice)]
    for choice in missing:
        yield MissingComponent(f"the device node {' or '.join(choice)} is missing", is_driver=True)


def matching(machine: Machine, pattern: str) -> tuple[str, ...]:
    """Return the names in a directory that match a shell pattern with * and []."""
    names = machine.names(dirname(pattern))
    return tuple(name for name in names if fnmatchcase(name, basename(pattern)))


COMPATIBLE, MODEL = "/proc/device-tree/compatible", "/proc/device-tree/model"
TEGRA_RELEASE = "/etc/nv_tegra_release"


def tegra(machine: Machine) -> str:
    """Return the name of a system whose NVIDIA GPU is part of the processor; empty for any other."""
    compatible = value_or(read_fact(lambda: machine.kernel_text(COMPATIBLE)), "")
    if "nvidia,tegra" not in compatible and not text_of(machine, TEGRA_RELEASE):
        return ""
    return value_or(read_fact(lambda: machine.kernel_text(MODEL)), "").strip("\0 ") or "NVIDIA Tegra"


PCI_IDS = "/usr/share/misc/pci.ids"
# Lablup's monitor; queried if installed, for vendors for which the wizard has no library.
ALL_SMI = ("all-smi", "snapshot", "--format", "json", "--include", "gpu", "--timeout-ms", "3000")
ALL_SMI_DEADLINE = 6.0


def probe(machine: Machine, settings: AcceleratorsSettings, context: Context) -> AcceleratorsFacts:
    """Return the facts of the page; a node without accelerators is not queried further."""
    try:
        bus = scan_pci(machine)
    except StateUnknown as error:
        return AcceleratorsFacts(Unknown(str(error)))
    result = cards(machine, bus)
    facts = AcceleratorsFacts(result, container=machine.in_container(), tegra=tegra(machine))
    makers = dict.fromkeys(card.vendor for card in result.value if not card.is_passed_through)
    if not makers:
        return facts
    daemon_json = text_of(machine, DAEMON_JSON)
    others = tuple(_vendor(machine, facts, key, daemon_json, context) for key in makers if key != "nvidia")
    with_driver = "nvidia" in makers and not facts.tegra
    about = nvidia.probe(machine, settings.nvidia, context, bus) if with_driver else None
    smi = all_smi(machine) if others else ()
    return replace(facts, vendors=others, nvidia=about, daemon_json=daemon_json, smi=smi)


def cards(machine: Machine, bus: tuple[PciDevice, ...]) -> Known[tuple[Card, ...]]:
    """Return every accelerator on the bus; unknown devices do not count as accelerators."""
    made = [(device, maker(device)) for device in bus]
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
    """Return the device's name in the node's own list of PCI ids; empty without the list or the entry."""
    mine = False
    for line in text_of(machine, PCI_IDS).split("\n"):
        if line[:1] not in ("\t", "#", ""):
            mine = line.startswith(f"{device.vendor:04x}  ")
        elif mine and line.startswith(f"\t{device.device:04x}  "):
            return line.partition("  ")[2].strip()
    return ""


def _vendor(machine: Machine, facts: AcceleratorsFacts, key: str, daemon_json: str, context: Context) -> VendorFacts:
    result = facts.of(key)
    try:
        return vendor_facts(machine, vendor_of(key), result, daemon_json, context)
    except StateUnknown as error:
        return VendorFacts(key, (), (MissingComponent(f"the missing components cannot be determined: {error}"),))


def all_smi(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Return the output of all-smi per card, as (name, rest); nothing if it is not installed or does not respond."""
    try:
        answer = machine.query(ALL_SMI, deadline=ALL_SMI_DEADLINE)
        result = json_value(answer.out).get("gpus") or []
    except (StateUnknown, ValueError, AttributeError):
        return ()
    return tuple((str(gpu.get("name", "")), _gpu_summary(gpu)) for gpu in result if isinstance(gpu, dict))


def _gpu_summary(gpu: dict[str, Any]) -> str:
    memory = gpu.get("total_memory")
    size = f"{whole(memory) / 2**30:.0f} GiB" if isinstance(memory, int | float) and memory else ""
    detail = gpu.get("detail")
    driver = detail.get("driver_version", "") if isinstance(detail, dict) else ""
    return ", ".join(
        part for part in (size, f"driver {driver}" if driver else "", str(gpu.get("uuid") or "")) if part
    )


def text_of(machine: Machine, path: str) -> str:
    """Return a file's text; empty if it is missing or cannot be read."""
    return value_or(read_fact(lambda: machine.text(path)), "")
