"""Lists the facts in bai_wizard/data that were not compared with their source for some months.

    .venv/bin/python -m tests.tools.old_facts [--months 6]

Exits with 1 if there are any.
"""

from __future__ import annotations

import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

DATA = Path(__file__).resolve().parents[2] / "bai_wizard" / "data"
MONTHS = 6


class Facts(msgspec.Struct, forbid_unknown_fields=True):
    """Tables or keys of one file, such as `nvidia.generation`, their source, and when it was last read."""

    tables: tuple[str, ...]
    source: str
    date: date


def read(path: Path) -> tuple[dict[str, Any], list[Facts]]:
    """Return the content of a data file, and the sources of its facts."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return content, msgspec.convert(content.pop("facts", []), list[Facts])


def undated(content: dict[str, Any], facts: Sequence[Facts]) -> list[str]:
    """Return the keys of a file that no entry covers: neither their own nor those of all keys below."""
    covered = {name for each in facts for name in each.tables}

    def missing(table: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in table.items():
            name = f"{prefix}{key}"
            if name in covered:
                continue
            below = any(other.startswith(f"{name}.") for other in covered)
            yield from missing(value, f"{name}.") if below and isinstance(value, dict) else (name,)

    # `version` is the format of the file.
    return [name for name in missing(content, "") if name != "version"]


def unknown(content: dict[str, Any], facts: Sequence[Facts]) -> list[str]:
    """Return the names in the entries that the file does not have."""

    def exists(name: str) -> bool:
        table: Any = content
        for part in name.split("."):
            if not isinstance(table, dict) or part not in table:
                return False
            table = table[part]
        return True

    return [name for each in facts for name in each.tables if not exists(name)]


def months_between(old: date, new: date) -> int:
    """Return the number of whole months from one day to another."""
    return (new.year - old.year) * 12 + new.month - old.month - (new.day < old.day)


def old_facts(today: date, months: int, directory: Path = DATA) -> list[tuple[str, str, Facts]]:
    """Return file, key and entry of all facts that were last checked at least so many months ago, oldest first."""
    result = [
        (path.name, name, facts)
        for path in sorted(directory.glob("*.toml"))
        for facts in read(path)[1]
        for name in facts.tables
        if months_between(facts.date, today) >= months
    ]
    return sorted(result, key=lambda entry: entry[2].date)


def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--months", type=int, default=MONTHS)
    found = old_facts(date.today(), parser.parse_args(argv).months)
    for file, name, facts in found:
        print(f"{facts.date}  bai_wizard/data/{file}  {name}  ({facts.source})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
