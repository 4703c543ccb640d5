"""Tables laid over one another: the file's own, then the `[[override]]` tables that match this host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bai_wizard.answers.positions import Path

# These name one of several ways; laid over one another they would name two at once.
_WHOLE = frozenset({"password"})


@dataclass(frozen=True)
class Layer:
    """Tables of one place of the file. `prefix` is the path of that place, `hosts` the patterns it is for."""

    prefix: Path
    tables: dict[str, Any]
    hosts: tuple[str, ...] = ()

    def matches(self, host: str) -> bool:
        """True when a pattern fits the host's short or full name."""
        names = {host.lower(), host.partition(".")[0].lower()}
        return any(fnmatchcase(name, pattern.lower()) for name in names for pattern in self.hosts)


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """All layers in one: tables are joined key by key, anything else is replaced by the later one."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _laid_over(merged, layer.tables)
    return merged


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    joined = dict(below)
    for key, value in above.items():
        old = below.get(key)
        both_tables = isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE
        joined[key] = _laid_over(old, value) if both_tables and isinstance(old, dict) else value
    return joined


def locate(layers: Sequence[Layer], path: Path) -> Path:
    """Where in the file the value in effect at `path` stands, or the innermost thing around it that stands there."""
    standing: list[tuple[Layer, Any]] = [(layer, layer.tables) for layer in layers]
    place: Path = layers[0].prefix if layers else ()
    for depth, key in enumerate(path):
        kept: list[tuple[Layer, Any]] = []
        for layer, value in standing:
            if not _has(value, key):
                continue
            inner = value[key]
            joins = isinstance(inner, dict) and key not in _WHOLE and kept and isinstance(kept[-1][1], dict)
            kept = [*kept, (layer, inner)] if joins else [(layer, inner)]
        if not kept:
            break
        standing = kept
        place = (*kept[-1][0].prefix, *path[: depth + 1])
    return place


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)
