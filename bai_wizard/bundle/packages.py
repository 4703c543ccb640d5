"""The packages of a bundle: fetched by apt for the nodes' system, then a flat repository that a node can read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bai_wizard.bundle.apt import Apt
from bai_wizard.bundle.manifest import Lack, sha256_of
from bai_wizard.bundle.nvidia import WantedDriver
from bai_wizard.bundle.system import Likeness
from bai_wizard.bundle.wanted import WantedPackages
from bai_wizard.core.errors import StepFailed
from bai_wizard.machine.bundled import INDEX

PLACE = "packages"
# apt's own state between two collections: no part of the bundle.
STATE = ".apt"


def collect_packages(
    wanted: Sequence[WantedPackages | WantedDriver], directory: Path, like: Likeness, say: Callable[[str], None]
) -> tuple[Lack, ...]:
    """Brings all of them, and takes away what an earlier collection brought and nobody wants now.

    What no source has for NVIDIA's driver is told. Raises StepFailed.
    """
    place = directory / PLACE
    if not wanted:
        shutil.rmtree(place, ignore_errors=True)
        return ()
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise StepFailed("packages are collected with apt-get: make the bundle on a machine of Debian or Ubuntu")
    say(f"reading the package lists of {like.system.name}")
    apt = Apt(directory / STATE, place, like)
    complaint = apt.read_lists(wanted)
    named, lacks = _named(wanted, apt)
    files: set[str] = set()
    for each in named:
        say(f"fetching packages for {like.system.name}: {' '.join(each.names)}")
        try:
            files.update(apt.fetch(each))
        except StepFailed as error:
            raise StepFailed(f"{error}\n{complaint}" if complaint else str(error)) from error
    _tidy(place, files)
    _write_index(place, files)
    return lacks


def _named(
    wanted: Sequence[WantedPackages | WantedDriver], apt: Apt
) -> tuple[tuple[WantedPackages, ...], tuple[Lack, ...]]:
    """By name, each once, now that the lists are read; and what no source has."""
    found: list[WantedPackages] = []
    lacks: list[Lack] = []
    for each in wanted:
        if isinstance(each, WantedPackages):
            found.append(each)
            continue
        packages, missing = each.named(apt.candidate)
        found += packages
        lacks += [(each.page, what) for what in missing]
    return tuple(dict.fromkeys(found)), tuple(dict.fromkeys(lacks))


def _tidy(place: Path, files: set[str]) -> None:
    shutil.rmtree(place / "partial")
    for file in place.iterdir():
        if file.name not in files:
            file.unlink()


def _write_index(place: Path, files: set[str]) -> None:
    """The index as apt reads it: each package's own description, with the file's name, size and sha256."""
    from bai_wizard.machine.runner import run

    paragraphs = []
    for name in sorted(files):
        file = place / name
        told = run(["dpkg-deb", "--field", str(file)], timeout=60.0, keep=1 << 20)
        if told.code != 0:
            raise StepFailed(f"{file} is no package: {told.err.strip()[-300:]}; remove it and repeat")
        size = file.stat().st_size
        more = f"Filename: ./{name}\nSize: {size}\nSHA256: {sha256_of(file)}\n"
        paragraphs.append(f"{told.out.strip()}\n{more}")
    partial = place / f"{INDEX}.part"
    partial.write_text("\n".join(paragraphs))
    partial.rename(place / INDEX)
