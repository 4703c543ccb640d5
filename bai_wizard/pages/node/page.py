"""The node page, page 0: what this node is, how it reaches the outside and whom it trusts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bai_wizard.core.facts import Asked, Fact, Known, Unknown
from bai_wizard.core.page import Page, always
from bai_wizard.pages import TITLES
from bai_wizard.pages.node.facts import Network, NodeFacts, Processor, Release
from bai_wizard.pages.node.plan import steps
from bai_wizard.pages.node.probe import probe, probe_telling
from bai_wizard.pages.node.settings import NetworkSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check

T = TypeVar("T")
GIB = 2**30


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.node.checks import CHECKS

    return CHECKS


def now(facts: NodeFacts) -> tuple[tuple[str, str], ...]:
    """The node, for the first screen."""
    told = [
        ("Release", _told(facts.release, _release)),
        ("Kernel", _told(facts.kernel, str)),
        ("Runs in", _told(facts.surroundings, str)),
        ("Processor", _told(facts.processor, _processor)),
        ("Memory", _told(facts.memory, lambda size: f"{size / GIB:.0f} GiB")),
        ("Up for", _told(facts.uptime, _duration)),
        ("Reboot", _told(facts.reboot, lambda names: f"pending: {', '.join(names)}", "none pending")),
    ]
    if isinstance(facts.disks, Known):
        for disk in facts.disks.value:
            share = f"{disk.free / GIB:.0f} of {disk.size / GIB:.0f} GiB free"
            told.append((f"Disk {disk.target}", f"{share} ({disk.fstype}, {disk.source})"))
    else:
        told.append(("Disks", _told(facts.disks, str)))
    if isinstance(facts.networks, Known):
        told += [(f"Network {network.name}", _network(network)) for network in facts.networks.value]
    else:
        told.append(("Networks", _told(facts.networks, str)))
    return tuple(told)


def _told(fact: Fact[T], tell: Callable[[T], str], absent: str = "not found") -> str:
    if isinstance(fact, Asked):
        return fact.reason
    if isinstance(fact, Unknown):
        return f"cannot tell: {fact.reason}"
    return tell(fact.value) if isinstance(fact, Known) else absent


def _release(release: Release) -> str:
    return release.name if release.is_supported else f"{release.name} (the wizard is not made for it)"


def _processor(processor: Processor) -> str:
    return f"{processor.threads} × {processor.model or 'unnamed'} ({processor.cores} cores)"


def _duration(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def _network(network: Network) -> str:
    return f"{', '.join(network.addresses) or 'no address'} ({network.state.lower()})"


PAGE = Page(
    name="node",
    title=TITLES["node"],
    summary="What this node is, how it reaches the outside and whom it trusts.",
    settings=NetworkSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
    probe_telling=probe_telling,
    reproducible=always,
    table="network",
)
