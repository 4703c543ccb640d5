"""Which Python a release of Backend.AI needs, over data/versions.toml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bai_wizard.data import read_toml
from bai_wizard.pages.python.releases import ANY, Number, UnknownRelease, dotted, number_of, range_of, upper

__all__ = ["ManualRow", "Requirement", "Row", "UnknownRelease", "manual_rows", "rows", "which_python"]


@dataclass(frozen=True)
class Row:
    """Releases with one need. `first` and `last` are numbers (year, month[, patch]); `least` has three parts."""

    first: Number
    last: Number
    python: str
    least: Number
    pants: str
    source: str
    certain: bool = True

    @property
    def releases(self) -> str:
        """`25.6 ~ 25.12`, or one release."""
        first, last = dotted(self.first), dotted(self.last)
        return first if first == last else f"{first} ~ {last}"


@dataclass(frozen=True)
class ManualRow:
    """A row as the manual prints it, and the rows of the finer table that it spans."""

    releases: str
    python: str
    pants: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Requirement:
    """The answer: the minor version to install and the least patch level. `note` says what is not certain."""

    python: str
    least: Number
    pants: str
    rows: tuple[Row, ...]
    certain: bool = True
    note: str = ""

    def accepts(self, version: str) -> bool:
        """True when this exact Python version will do."""
        number = number_of(version)
        return dotted(number[:2]) == self.python and number >= self.least


def which_python(release: str) -> Requirement:
    """Which Python Backend.AI `release` needs.

    Takes an exact release (25.13.2), a calendar version (26.4, 24.03), a year (25.x) and a range (25.6 ~ 25.12,
    >=25.6,<25.13). Of a range the newest release decides. A release newer than the table gets the newest row, not
    certain and with a note. Raises UnknownRelease for one that is older than the table, and for what is no release.
    """
    first, last = range_of(release)
    table = rows()
    if last < table[0].first:
        raise UnknownRelease(
            f"Backend.AI {release} is older than the oldest release in the version table ({dotted(table[0].first)}); "
            "name the Python version yourself: [python] version"
        )
    if first > upper(table[-1].last):
        return _from_future(release, table[-1])
    hit = tuple(row for row in table if row.first <= last and first <= upper(row.last))
    if not hit:
        return _from_gap(release, first, table)
    newest = hit[-1]
    notes = [
        f"{row.releases} needs Python {row.python}, {newest.releases} Python {newest.python}"
        for row in hit
        if row.python != newest.python
    ]
    if not newest.certain:
        notes.append(f"assumed for {newest.releases}: {newest.source}")
    if upper(table[-1].last) < last < (ANY,):
        notes.append(f"the version table ends with {dotted(table[-1].last)}")
    least = max(row.least for row in hit if row.python == newest.python)
    return Requirement(newest.python, least, newest.pants, hit, newest.certain, "; ".join(notes))


def _from_future(release: str, newest: Row) -> Requirement:
    note = (
        f"Backend.AI {release} is newer than the version table, which ends with {dotted(newest.last)}; "
        f"the nearest row is taken: Python {newest.python}, at least {dotted(newest.least)}"
    )
    return Requirement(newest.python, newest.least, newest.pants, (newest,), False, note)


def _from_gap(release: str, first: Number, table: tuple[Row, ...]) -> Requirement:
    before = [row for row in table if row.last < first][-1]
    note = (
        f"there is no Backend.AI {release} in the version table; the row before it is taken: {before.releases}, "
        f"Python {before.python}, at least {dotted(before.least)}"
    )
    return Requirement(before.python, before.least, before.pants, (before,), False, note)


@cache
def rows() -> tuple[Row, ...]:
    """The finer table, oldest first."""
    return tuple(
        Row(
            number_of(entry["first"]),
            number_of(entry["last"]),
            entry["python"],
            number_of(entry["least"]),
            entry["pants"],
            entry["source"],
            entry.get("certain", True),
        )
        for entry in _data()["release"]
    )


@cache
def manual_rows() -> tuple[ManualRow, ...]:
    """The table as the manual prints it, newest first."""
    found = []
    for entry in _data()["manual"]:
        first, last = number_of(entry["first"]), upper(number_of(entry["last"]))
        spanned = tuple(row for row in rows() if row.first <= last and first <= upper(row.last))
        found.append(ManualRow(entry["releases"], entry["python"], entry["pants"], spanned))
    return tuple(found)


@cache
def _data() -> dict[str, Any]:
    return read_toml("versions.toml")
