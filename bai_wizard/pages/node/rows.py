"""The table of the Node page: what is known about the node, and the steps of its fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from bai_wizard.core.machine import Interface, Processor
from bai_wizard.core.page import Fact, Known, Row, Unknown, cannot_tell
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.pages.node.probe import NodeFacts, Release

GIB = 2**30
T = TypeVar("T")
PROXY = ("node.proxy-apt", "node.proxy-git", "node.environment", "node.proxy-password")
ROWS = (
    Row("node.roles"),
    Row("node.backend_ai", is_needed=True),
    Row("network.proxy.https", if_set=PROXY),
    Row("network.proxy.http", if_set=PROXY),
    Row("network.proxy.no_proxy", if_set=PROXY),
    Row("network.ca_certificates", if_set=("node.trust", "node.trust-pip", "node.environment")),
    Row("sources.bundle", default=N_("none (online)"), is_advanced=True),
)


def now(facts: NodeFacts) -> tuple[tuple[str, str], ...]:
    """Summarize the node for the first screen."""
    lines = [
        (N_("Release"), _described(facts.release, _release)),
        (N_("Kernel"), _described(facts.kernel, str)),
        (N_("Platform"), _described(facts.surroundings, str)),
        (N_("Processor"), _described(facts.processor, _processor)),
        (N_("Memory"), _described(facts.memory, lambda memory: f"{memory.total / GIB:.0f} GiB")),
        (N_("Uptime"), _described(facts.uptime, _duration)),
        (
            N_("Reboot"),
            _described(
                facts.reboot, lambda names: tr("pending: {names}", names=", ".join(names)), tr("none pending")
            ),
        ),
    ]
    if isinstance(facts.disks, Known):
        for disk in facts.disks.value:
            share = tr("{free} of {size} GiB free", free=f"{disk.free / GIB:.0f}", size=f"{disk.total / GIB:.0f}")
            lines.append((tr("Disk {path}", path=disk.path), f"{share} ({disk.fstype}, {disk.source})"))
    else:
        lines.append((N_("Disks"), _described(facts.disks, str)))
    if isinstance(facts.networks, Known):
        lines += [(tr("Network {name}", name=network.name), _network(network)) for network in facts.networks.value]
    else:
        lines.append((N_("Networks"), _described(facts.networks, str)))
    return tuple(lines)


def _described(fact: Fact[T], tell: Callable[[T], str], absent: str = "") -> str:
    if isinstance(fact, Unknown):
        return cannot_tell(fact)
    return tell(fact.value) if isinstance(fact, Known) else absent or tr("not found")


def _release(release: Release) -> str:
    return (
        release.name if release.is_supported else tr("{release} (not supported by the wizard)", release=release.name)
    )


def _processor(processor: Processor) -> str:
    cores = ntr("{count} core", "{count} cores", processor.cores)
    return f"{processor.threads} × {processor.model or tr('unknown model')} ({cores})"


def _duration(seconds: float) -> str:
    passed = timedelta(seconds=seconds)
    hours, minutes = passed.seconds // 3600, passed.seconds % 3600 // 60
    if passed.days:
        return ntr("{count} day {hours} h", "{count} days {hours} h", passed.days, hours=hours)
    return tr("{hours} h {minutes} min", hours=hours, minutes=minutes)


def _network(network: Interface) -> str:
    return f"{', '.join(network.addresses) or tr('no address')} ({network.state.lower()})"
