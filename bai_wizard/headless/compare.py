"""Reports of several nodes side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.headless.sameness import CANNOT_TELL, MISSING

# Whom a value was found on, the value of most nodes first.
Groups = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Comparison:
    """`wrong` must be the same and is not (or cannot be told), `same` is as it must be, `other` may well differ."""

    hosts: tuple[str, ...]
    wrong: Mapping[str, Groups]
    same: Mapping[str, str]
    other: Mapping[str, Groups]

    def to_json(self) -> dict[str, Any]:
        """JSON values: by label, value → hosts."""
        told = {name: {label: dict(groups) for label, groups in table.items()} for name, table in self._tables()}
        return {"v": 1, "hosts": list(self.hosts), **told, "same": dict(self.same)}

    def _tables(self) -> tuple[tuple[str, Mapping[str, Groups]], ...]:
        return ("wrong", self.wrong), ("other", self.other)


def read_reports(files: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The reports by host. Raises AnswersError with every file that is none, and for two of the same host."""
    problems = []
    found: dict[str, dict[str, Any]] = {}
    came_from: dict[str, str] = {}
    for file in files:
        try:
            report = _read(file)
        except (OSError, ValueError) as error:
            problems.append(Problem(file, 0, 0, "", getattr(error, "strerror", None) or str(error)))
            continue
        host = report["host"]
        if host in found:
            reason = f"is of {host}, and so is {came_from[host]}; keep the newer one"
            problems.append(Problem(file, 0, 0, "", reason))
        found[host], came_from[host] = report, file
    if problems:
        raise AnswersError(problems)
    return found


def _read(file: str) -> dict[str, Any]:
    """Raises OSError, ValueError."""
    try:
        report = json.loads(Path(file).read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    tables = ("same", "node")
    if not isinstance(report, dict) or not all(isinstance(report.get(table), dict) for table in tables):
        raise ValueError("is no report of a node; make one with: bai-wizard --headless FILE --report N.json")
    if report.get("version") != 1 or not isinstance(report.get("host"), str):
        raise ValueError(f"is a report of version {report.get('version')!r}; this wizard reads version 1")
    return report


def compare(reports: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """A node is compared in what it has or was asked to have; what is missing or could not be told is wrong."""
    required = _by_label({host: report["same"] for host, report in reports.items()})
    wrong = {label: groups for label, groups in required.items() if len(groups) > 1 or not _is_value(groups[0][0])}
    others = _by_label(
        {
            host: {
                f"{page}: {label}": value for page, rows in report["node"].items() for label, value in rows.items()
            }
            for host, report in reports.items()
        }
    )
    return Comparison(
        tuple(reports),
        wrong,
        {label: groups[0][0] for label, groups in required.items() if label not in wrong},
        {label: groups for label, groups in others.items() if len(groups) > 1},
    )


def _is_value(text: str) -> bool:
    return text != MISSING and not text.startswith(CANNOT_TELL)


def _by_label(tables: Mapping[str, Mapping[str, str]]) -> dict[str, Groups]:
    found: dict[str, dict[str, list[str]]] = {}
    for host, table in tables.items():
        for label, value in table.items():
            found.setdefault(label, {}).setdefault(str(value), []).append(host)
    return {
        label: tuple((value, tuple(hosts)) for value, hosts in sorted(values.items(), key=lambda item: -len(item[1])))
        for label, values in found.items()
    }


def lines(found: Comparison) -> Iterator[str]:
    """For people: what must not differ first."""
    yield f"{len(found.hosts)} nodes: {', '.join(found.hosts)}"
    yield ""
    if found.wrong:
        yield "Must be the same on every node, and is not:"
        yield from _table(found.wrong)
    else:
        yield "Everything that must be the same on every node is the same."
    if found.same:
        yield "\nThe same on every node that has it:"
        yield from (f"  {label}: {value}" for label, value in found.same.items())
    if found.other:
        yield "\nDiffers, and may:"
        yield from _table(found.other)


def _table(table: Mapping[str, Groups]) -> Iterator[str]:
    for label, groups in table.items():
        yield f"  {label}"
        width = max(len(value) for value, _ in groups)
        yield from (f"    {value:<{min(width, 60)}}  {', '.join(hosts)}" for value, hosts in groups)
