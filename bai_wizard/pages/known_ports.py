"""Reads `data/ports.toml`: on which ports Backend.AI listens, by role of the node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from bai_wizard.core.context import Role
from bai_wizard.data import read_toml
from bai_wizard.steps.better import Interval, intervals, union


@dataclass(frozen=True)
class Ports:
    """Ports on which something of Backend.AI listens on nodes of these roles."""

    ports: tuple[Interval, ...]
    what: str
    roles: tuple[Role, ...]


@cache
def ports() -> tuple[Ports, ...]:
    """Every port of Backend.AI."""
    return tuple(
        Ports(intervals(entry["ports"]), entry["what"], tuple(entry["roles"]))
        for entry in read_toml("ports.toml")["port"]
    )


def ports_of(roles: Iterable[Role]) -> tuple[Interval, ...]:
    """The ports of nodes of these roles."""
    wanted = set(roles)
    mine = [interval for entry in ports() if wanted & set(entry.roles) for interval in entry.ports]
    return union(tuple(mine), ())
