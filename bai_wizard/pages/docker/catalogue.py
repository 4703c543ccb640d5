"""What is known of engines and their packages, over data/docker.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from bai_wizard.data import read_toml


@dataclass(frozen=True)
class PackageSet:
    """The packages of one source for one release of the system. `note` tells what is missing there."""

    engine: tuple[str, ...]
    plugins: tuple[str, ...]
    conflicts: tuple[str, ...]
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Engine and plugins."""
        return (*self.engine, *self.plugins)


@dataclass(frozen=True)
class Incompatible:
    """An engine's major version that releases of Backend.AI before `fixed_in` do not work with."""

    engine: int
    fixed_in: str
    what: str
    source: str


def docker_ce() -> PackageSet:
    """Docker's own packages."""
    table = _data()["docker-ce"]
    return PackageSet(tuple(table["engine"]), tuple(table["plugins"]), tuple(table["conflicts"]))


def distro(codename: str) -> PackageSet:
    """The distribution's packages under the names of this release."""
    table = _data()["distro"]
    names = table.get(codename, table["default"])
    return PackageSet(
        tuple(names["engine"]), tuple(names["plugins"]), tuple(table["conflicts"]), names.get("note", "")
    )


def every_package() -> tuple[str, ...]:
    """Every package that is, holds or hinders an engine."""
    ce = docker_ce()
    return tuple(dict.fromkeys((*ce.names, *ce.conflicts, *_data()["distro"]["conflicts"])))


def repository(os: str) -> str:
    """The address of Docker's repository for `ubuntu` or `debian`."""
    return str(_data()["docker-ce"]["url"]).format(os=os)


def suites(os: str) -> tuple[str, ...]:
    """The releases that Docker's repository is known to serve."""
    return tuple(_data()["docker-ce"]["suites"].get(os, ()))


def architectures() -> tuple[str, ...]:
    """Debian's names of the architectures that Docker's repository serves."""
    return tuple(_data()["docker-ce"]["architectures"])


def fingerprint() -> str:
    """The pinned fingerprint of Docker's key."""
    return str(_data()["docker-ce"]["fingerprint"])


def key() -> str:
    """Docker's key as it comes with the wizard, so that nothing has to be fetched for it."""
    from importlib.resources import files

    return files("bai_wizard.data").joinpath("keys/docker.asc").read_text(encoding="ascii")


def incompatible(release: str) -> Incompatible | None:
    """The lowest engine that Backend.AI `release` does not work with; None for one that works with all, or none."""
    number = release_number(release)
    found = [
        Incompatible(entry["engine"], entry["fixed_in"], entry["what"], entry["source"])
        for entry in _data()["incompatible"]
        if number and number < release_number(entry["fixed_in"])
    ]
    return min(found, key=lambda entry: entry.engine) if found else None


def release_number(release: str) -> tuple[int, ...]:
    """Year and month of a release: (26, 4) of `26.4.10`; empty for what is no release."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else ()


@cache
def _data() -> dict[str, Any]:

    return read_toml("docker.toml")
