"""The starter sets and what is known of CUDA, over data/images.toml."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from bai_wizard.data import read_toml


@dataclass(frozen=True)
class Starter:
    """An image of a starter set."""

    reference: str
    sets: tuple[str, ...]
    roles: tuple[str, ...]
    architectures: tuple[str, ...]
    known: str


def starters(name: str, roles: Collection[str], architecture: str) -> tuple[Starter, ...]:
    """The images of a set. The manual's is taken as printed; the current one by role and architecture.

    An unknown architecture (empty) leaves the current set empty rather than wrong.
    """
    found = tuple(starter for starter in _starters() if name in starter.sets)
    if name == "manual":
        return found
    return tuple(
        starter for starter in found if architecture in starter.architectures and set(starter.roles) & set(roles)
    )


def canonical_registry() -> str:
    """The registry that the starter sets name."""
    return str(_data()["registry"])


def rewritten(reference: str, registry: str) -> str:
    """A starter's reference in a registry of one's own; unchanged without one."""
    head = f"{canonical_registry()}/"
    return f"{registry}/{reference.removeprefix(head)}" if registry and reference.startswith(head) else reference


def cuda_of_tag(reference: str) -> tuple[int, int] | None:
    """(11, 3) of `python-pytorch:1.11-py38-cuda11.3`; None where the tag names none."""
    found = re.search(r"cuda(\d+)\.(\d+)", reference.rpartition(":")[2])
    return (int(found[1]), int(found[2])) if found else None


def cuda_of_driver(version: str) -> tuple[int, int] | None:
    """The newest CUDA that a driver (`580.65.06`) runs; None for one that is not in the table and newer than it."""
    table = {int(branch): text for branch, text in _data()["cuda"].items()}
    branch = int(re.match(r"\d*", version)[0] or 0)  # type: ignore[index]  # the pattern matches anything
    if branch > max(table):
        return None
    known = [number for number in table if number <= branch]
    if not known:
        return (0, 0)
    major, minor = table[max(known)].split(".")
    return int(major), int(minor)


@cache
def _starters() -> tuple[Starter, ...]:
    return tuple(
        Starter(
            entry["reference"],
            tuple(entry["sets"]),
            tuple(entry["roles"]),
            tuple(entry["architectures"]),
            entry["known"],
        )
        for entry in _data()["image"]
    )


@cache
def _data() -> dict[str, Any]:

    return read_toml("images.toml")
