"""Reads `data/tuning.toml` and `data/ports.toml`: what is wanted, why, and how it is compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from bai_wizard.core.context import Role
from bai_wizard.steps.better import Better, Interval, intervals, union


@dataclass(frozen=True)
class Parameter:
    """What is known of a kernel parameter, whatever the profile. `kernel` are values that come by themselves."""

    name: str
    better: Better = "exact"
    what: str = ""
    kernel: tuple[str, ...] = ()
    module: str = ""


@dataclass(frozen=True)
class Value:
    """A profile's value. `manual` is what the source prints where that is not what we deliver; `reason` says why."""

    value: str
    manual: str = ""
    reason: str = ""
    better: Better | None = None


@dataclass(frozen=True)
class Profile:
    """A set of values. `label` is the word in comments: `kept 4096 (manual: 1024)`."""

    name: str
    label: str
    title: str
    source: str
    sysctl: dict[str, Value]


@dataclass(frozen=True)
class Ports:
    """Ports on which something of Backend.AI listens on nodes of these roles."""

    ports: tuple[Interval, ...]
    what: str
    roles: tuple[Role, ...]


def _read(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads(files("bai_wizard.data").joinpath(name).read_text(encoding="utf-8"))


@cache
def _tuning() -> dict[str, Any]:
    return _read("tuning.toml")


@cache
def catalogue() -> dict[str, Parameter]:
    """Every parameter that a profile may name. Raises ValueError where the data makes no sense."""
    found = {}
    for name, body in _tuning()["key"].items():
        if body["better"] not in get_args(Better):
            raise ValueError(f"tuning.toml: {name}: unknown comparison {body['better']!r}")
        kernel = tuple(body.get("kernel", ()))
        found[name] = Parameter(name, body["better"], body["what"], kernel, body.get("module", ""))
    return found


@cache
def profile(name: str) -> Profile:
    """A profile by name. Raises KeyError when there is none."""
    body = _tuning()["profile"][name]
    values = {
        key: Value(value) if isinstance(value, str) else Value(**value) for key, value in body["sysctl"].items()
    }
    return Profile(name, body["label"], body["title"], body["source"], values)


@cache
def ports() -> tuple[Ports, ...]:
    """Every port of Backend.AI."""
    return tuple(
        Ports(intervals(entry["ports"]), entry["what"], tuple(entry["roles"]))
        for entry in _read("ports.toml")["port"]
    )


def ports_of(roles: Iterable[Role]) -> tuple[Interval, ...]:
    """The ports of nodes of these roles."""
    wanted = set(roles)
    mine = [interval for entry in ports() if wanted & set(entry.roles) for interval in entry.ports]
    return union(tuple(mine), ())
