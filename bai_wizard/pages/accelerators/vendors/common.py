"""What cards of any vendor need on a node, by the data file, and which of it is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from math import inf
from posixpath import basename, dirname

from bai_wizard.core.context import Context
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.catalogue import Vendor
from bai_wizard.pages.accelerators.facts import Card, Lacking, VendorFacts
from bai_wizard.steps.service_limits import DEFAULTS, SECTION, parse_limit
from bai_wizard.steps.unit_files import settings, unit_file

MODULES = "/sys/module"
# Hands its own limit on to the containers (lablup/backend.ai, get_safe_ulimit).
AGENT, MEMLOCK = "backendai-agent.service", "LimitMEMLOCK"
CDI = ("/etc/cdi", "/run/cdi")
# Where systemd keeps the links of enabled units.
WANTED_BY = ("/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/sysinit.target.wants")
HUGE_1G = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"


def look(
    machine: Machine, vendor: Vendor, cards: tuple[Card, ...], daemon_json: str, context: Context
) -> VendorFacts:
    """The facts of a vendor whose cards are here. Raises CannotTell."""
    loaded = machine.names(MODULES)
    return VendorFacts(
        key=vendor.key,
        models=tuple(Counter(card.device for card in cards).items()),
        lacking=tuple(_lacking(machine, vendor, cards, daemon_json, context)),
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
) -> Iterator[Lacking]:
    yield from _driver(machine, vendor, cards)
    for choice in vendor.files:
        if all(machine.entry(path) is None for path in choice):
            yield Lacking(f"{' or '.join(choice)} is not there")
    account = machine.account(context.account)
    for name in vendor.groups:
        group = machine.group(name)
        if group is None:
            yield Lacking(f"there is no group {name}")
        elif account is not None and account.gid != group.gid and not machine.is_member(account.name, name):
            yield Lacking(f"{account.name} is not in the group {name}")
    if vendor.runtime and f'"{vendor.runtime}"' not in daemon_json:
        yield Lacking(f"the container runtime {vendor.runtime} is not registered with Docker")
    if vendor.memlock and (limit := locked_memory(machine)) not in (None, inf):
        yield Lacking(
            f"{AGENT} may lock {limit / 2**20:.0f} MiB of memory, and sessions with these cards need it without a"
            ' limit (tuning.services: memlock = "unlimited")'
        )
    pages = vendor.pages_for(tuple(card.device for card in cards))
    there = machine.kernel_text(HUGE_1G) if pages else None
    if pages and int(there or 0) < pages:
        yield Lacking(f"{pages} huge pages of 1 GiB are needed, {there or 'none'} reserved")


def locked_memory(machine: Machine) -> float | None:
    """How many bytes the agent's service may lock, and so its sessions; None where the node has no such service."""
    if unit_file(machine, AGENT) is None:
        return None
    given = [parse_limit(one.value) for one in settings(machine, AGENT, SECTION, MEMLOCK)]
    return next((pair[1] for pair in reversed(given) if pair is not None), DEFAULTS[MEMLOCK][1])


def _driver(machine: Machine, vendor: Vendor, cards: tuple[Card, ...]) -> Iterator[Lacking]:
    loaded = machine.names(MODULES)
    for module in vendor.modules:
        if module not in loaded:
            yield Lacking(f"the kernel module {module} is not loaded", is_driver=module == vendor.modules[0])
    unbound = [card.address for card in cards if vendor.drivers and card.driver not in vendor.drivers]
    if unbound:
        yield Lacking(f"no driver of the vendor's holds {', '.join(unbound)}", is_driver=True)
    missing = [choice for choice in vendor.nodes if not any(matching(machine, pattern) for pattern in choice)]
    for choice in missing:
        yield Lacking(f"there is no device node {' or '.join(choice)}", is_driver=True)


def matching(machine: Machine, pattern: str) -> tuple[str, ...]:
    """The names in a directory that fit, as the shell's * and [] do."""
    names = machine.names(dirname(pattern))
    return tuple(name for name in names if fnmatchcase(name, basename(pattern)))
