"""The answers once they are read: settings of the tables that are there, and where each value came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bai_wizard.answers.layers import Layer, locate, merge
from bai_wizard.answers.positions import Path, positions
from bai_wizard.core.errors import Problem

if TYPE_CHECKING:
    from bai_wizard.pages.fields import SettingsTable

VERSION = 1


@dataclass(frozen=True)
class Answers:
    """What is asked for. `tables` holds the settings of every table that is present, applied or not.

    `layers` are the file's tables and the overrides that match `host`, in the order in which they are laid over
    one another; answers from a form have none, and their problems have no line.
    """

    file: str
    host: str
    tables: Mapping[str, SettingsTable]
    version: int = VERSION
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    text: str = field(default="", repr=False)

    def get(self, table: str) -> SettingsTable | None:
        """The settings of a table; None where it is not present."""
        return self.tables.get(table)

    @property
    def applied(self) -> tuple[str, ...]:
        """The tables that are to be brought about."""
        return tuple(name for name, settings in self.tables.items() if settings.apply)

    @property
    def overrides(self) -> tuple[Layer, ...]:
        """The overrides in effect."""
        return tuple(layer for layer in self.layers if layer.prefix)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The values as written, overrides laid over."""
        return merge(self.layers)

    @cached_property
    def origins(self) -> dict[str, str]:
        """Dotted key of every value that is written → `FILE:LINE`, with the patterns where it is from an override."""
        return {dotted(path): self.origin(path) for path in _leaves(self.plain)}

    def origin(self, path: Path) -> str:
        """`FILE:LINE` of the value in effect at `path`; empty where there is no file."""
        if not self.layers:
            return ""
        place = locate(self.layers, path)
        line, _ = self._position(place)
        layer = next((layer for layer in self.overrides if layer.prefix == place[:2]), None)
        return f"{self.file}:{line}" + (f" (override for {', '.join(layer.hosts)})" if layer else "")

    def origin_of(self, layer: Layer) -> str:
        """`FILE:LINE` of the place where a layer begins."""
        line, _ = self._position(layer.prefix)
        return f"{self.file}:{line}"

    def problem(self, path: Path, reason: str) -> Problem:
        """A problem with the value at `path`, found after the file was read; the line is not quoted."""
        line, column = self._position(locate(self.layers, path)) if self.layers else (0, 0)
        return Problem(self.file, line, column, dotted(path), reason)

    @cached_property
    def _positions(self) -> dict[Path, tuple[int, int]]:
        return positions(self.text)

    def _position(self, place: Path) -> tuple[int, int]:
        return position_of(self._positions, place)


def position_of(known: Mapping[Path, tuple[int, int]], place: Path) -> tuple[int, int]:
    """The position of the place, or of the innermost thing around it; (1, 1) for the document as a whole."""
    while place and place not in known:
        place = place[:-1]
    return known.get(place, (1, 1))


def dotted(path: Path) -> str:
    """`storage.volumes[0].name`; keys that are no plain words stand in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part and all(letter.isalnum() or letter in "_-" for letter in part)
            shown = part if plain else '"' + "".join(c if c.isprintable() else "?" for c in part) + '"'
            text += f".{shown}" if text else shown
    return text


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path
