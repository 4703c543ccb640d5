"""What several checks of Docker need to know first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.docker.probe import installed
from bai_wizard.pages.subject import Subject

ENGINES = ("docker-ce", "docker.io", "moby-engine")


class NotApplicable(Exception):
    """There is nothing to look at; the text says why."""


def require_engine(machine: Machine) -> tuple[tuple[str, str], ...]:
    """The engine's packages. Raises NotApplicable on a node without an engine."""
    packages = installed(machine)
    if not any(name in ENGINES for name, _ in packages):
        raise NotApplicable("Docker is not installed by packages")
    return packages


def require_info(machine: Machine) -> dict[str, Any]:
    """What the engine tells of itself. Raises NotApplicable without one, CannotTell where it gives no answer."""
    info = machine.engine("/info")
    if not isinstance(info, dict):
        raise NotApplicable("no container engine runs")
    return info


def journal(machine: Machine, pattern: str, *, unit: str = "docker.service", lines: int = 5) -> tuple[str, ...]:
    """The last lines of a unit's journal of this boot that a pattern fits; none where the journal has no answer."""
    argv = [
        "journalctl",
        "--no-pager",
        "--output=cat",
        "--boot",
        f"--unit={unit}",
        f"--grep={pattern}",
        f"--lines={lines}",
    ]
    try:
        found = machine.look(argv, deadline=4.0)
    except CannotTell:
        return ()
    return tuple(line for line in found.out.splitlines() if line.strip() and not line.startswith("-- "))


def networks(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Docker's networks: name and each subnet."""
    found = machine.engine("/networks")
    if not isinstance(found, list):
        raise NotApplicable("no container engine runs")
    subnets = []
    for network in found:
        for pool in (network.get("IPAM") or {}).get("Config") or []:
            if pool.get("Subnet"):
                subnets.append((str(network.get("Name", "")), str(pool["Subnet"])))
    return tuple(subnets)


def check(subject: Subject, look: Callable[[Machine, Context], Finding], **options: Any) -> Check:
    """The check of a subject; a look that has nothing to look at says so by NotApplicable."""

    def guarded(machine: Machine, context: Context) -> Finding:
        try:
            return look(machine, context)
        except NotApplicable as nothing:
            return subject.not_applicable(str(nothing))

    return subject.check(guarded, **options)
