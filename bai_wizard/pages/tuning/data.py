"""Reads `data/tuning.toml`: what is wanted, why, and how it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from bai_wizard.data import read_toml
from bai_wizard.steps.better import Better


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


@cache
def _tuning() -> dict[str, Any]:
    return read_toml("tuning.toml")


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
