"""Reads `data/ports.toml`: on which ports Backend.AI listens, by role of the node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from bai_wizard.core.context import Role
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
    import tomllib

    text = files("bai_wizard.data").joinpath("ports.toml").read_text(encoding="utf-8")
    return tuple(
        Ports(intervals(entry["ports"]), entry["what"], tuple(entry["roles"]))
        for entry in tomllib.loads(text)["port"]
    )


def ports_of(roles: Iterable[Role]) -> tuple[Interval, ...]:
    """The ports of nodes of these roles."""
    wanted = set(roles)
    mine = [interval for entry in ports() if wanted & set(entry.roles) for interval in entry.ports]
    return union(tuple(mine), ())
