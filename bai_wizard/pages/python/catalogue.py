"""The builds of python-build-standalone that the wizard knows by their sha256, over data/python-catalogue.json."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import quote, unquote

from bai_wizard import data
from bai_wizard.core.errors import WizardError
from bai_wizard.pages.python.releases import Number, dotted, number_of

# Where uv expects the archives; a mirror holds what lies below, as BUILD DATE/FILE.
RELEASES = "https://github.com/astral-sh/python-build-standalone/releases/download"

Flavour = Literal["install_only", "install_only_stripped"]


class NoBuild(WizardError):
    """The catalogue has no build of what was asked for."""


@dataclass(frozen=True)
class Build:
    """One archive. `level` is the x86-64 level it is compiled for: empty (any), v2, v3 or v4."""

    key: str
    version: str
    date: str
    arch: str
    level: str
    flavour: str
    url: str
    sha256: str

    @property
    def file(self) -> str:
        """The archive's name."""
        return unquote(self.url.rsplit("/", 1)[1])

    @property
    def place(self) -> str:
        """Where it lies below a mirror: `20261021/cpython-3.13.17+20261021-….tar.gz`."""
        return f"{self.date}/{self.file}"

    @property
    def released(self) -> str:
        """The build's date as people write it."""
        return f"{self.date[:4]}-{self.date[4:6]}-{self.date[6:]}"

    def address(self, mirror: str = "") -> str:
        """Where to fetch it from; `mirror` stands in for the project's releases."""
        return f"{(mirror or RELEASES).rstrip('/')}/{self.date}/{quote(self.file)}"

    def entry(self) -> str:
        """The build alone as a catalogue in uv's format."""
        major, minor, patch = number_of(self.version)
        arch = {"family": self.arch, "variant": self.level or None}
        body = {"name": "cpython", "arch": arch, "os": "linux", "libc": "gnu", "major": major, "minor": minor,
                "patch": patch, "prerelease": "", "url": f"{RELEASES}/{self.date}/{quote(self.file)}",
                "sha256": self.sha256, "variant": None, "build": self.date}  # fmt: skip
        return json.dumps({self.key: body}, separators=(",", ":"))


def choose(
    wanted: str,
    arch: str,
    *,
    least: Number = (0,),
    flavour: str = "install_only",
    level: str = "",
    catalogue: tuple[Build, ...] | None = None,
) -> Build:
    """The build to take for a minor version (3.13: its newest) or an exact one (3.13.7).

    The flavour gives way where the version exists in the other one only: they differ in debug symbols and in
    nothing else. Raises NoBuild with what there is instead.
    """
    known = [build for build in (catalogue or builds()) if build.arch == arch and build.level == level]
    if not known:
        raise NoBuild(f'there are no builds for {arch}{f" ({level})" if level else ""}; take method = "pyenv"')
    number = number_of(wanted)
    fitting = [build for build in known if number_of(build.version)[: len(number)] == number]
    if not fitting:
        same = sorted({number_of(build.version) for build in known if number_of(build.version)[:2] == number[:2]})
        there = (
            f"of {dotted(number[:2])} there are {', '.join(map(dotted, same))}" if same else "nor any of its minor"
        )
        raise NoBuild(f"there is no build of Python {wanted} for {arch}; {there}")
    newest = max(number_of(build.version) for build in fitting)
    if newest < least:
        raise NoBuild(f"the newest build of Python {wanted} is {dotted(newest)}; at least {dotted(least)} is needed")
    candidates = [build for build in fitting if number_of(build.version) == newest]
    return max(candidates, key=lambda build: (build.flavour == flavour, build.date))


@cache
def builds() -> tuple[Build, ...]:
    """Every build of the catalogue."""
    with open(os.path.join(os.path.dirname(data.__file__), "python-catalogue.json"), encoding="utf-8") as file:
        return parse(file.read())


def parse(text: str) -> tuple[Build, ...]:
    """Reads a catalogue: uv's format, with the other flavour of a build beside it."""
    found = []
    for key, entry in json.loads(text).items():
        found.append(_build(key, entry, entry["flavour"], entry))
        for flavour, other in entry.get("others", {}).items():
            found.append(_build(key, entry, flavour, other))
    return tuple(found)


def _build(key: str, entry: dict[str, Any], flavour: str, file: dict[str, Any]) -> Build:
    version = f"{entry['major']}.{entry['minor']}.{entry['patch']}"
    arch = entry["arch"]
    return Build(
        key, version, file["build"], arch["family"], arch["variant"] or "", flavour, file["url"], file["sha256"]
    )
