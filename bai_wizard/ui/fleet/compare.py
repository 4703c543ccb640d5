"""Compare the reports of nodes: what must be equal on all of them, and what may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bai_wizard.compose import with_current_labels
from bai_wizard.core.display import is_visible, visible
from bai_wizard.core.errors import AnswersError, Problem
from bai_wizard.node.regular import parse_json, read_given
from bai_wizard.ui.fleet.hosts import host_ranges

# Placeholders for a value that could not be read, and for something that is required but missing.
CANNOT_TELL = "cannot tell"
MISSING = "not there"
# Limits on an untrusted report: bytes of the file, rows, characters. A real one has 10 kB.
LARGEST = 4 << 20
MAX_VALUES = 20_000
LONGEST_HOST = 253
# The origin of an answer that an [[override]] table gives.
LONGEST_SHOWN = 2000
# In a fleet of this size, a value that nearly every node has for itself (addresses, free space, uptime) says nothing:
# only its label is shown.
FLEET = 5
# The key of the answers that decides a value: an [[override]] of it wants the difference. The first match counts.
DECIDED_BY = (
    ("Backend.AI release", "node.backend_ai"),
    ("operation account: uid", "account.uid"),
    ("operation account: gid", "account.gid"),
    ("operation account", "account"),
    ("volume", "storage"),
    ("container engine", "docker"),
    ("NVIDIA driver", "accelerators"),
    ("Python", "python"),
)

# Each value with the hosts that have it, the most frequent value first.
Groups = tuple[tuple[str, tuple[str, ...]], ...]


class Comparison(Struct, frozen=True):
    """`wrong` must be the same but differs or is unknown, `same` is the same as required, `other` may differ.

    `wanted` differs because an [[override]] says so; `noise` are labels that differ on most nodes.
    """

    hosts: tuple[str, ...]
    wrong: Mapping[str, Groups]
    same: Mapping[str, str]
    other: Mapping[str, Groups]
    wanted: Mapping[str, Groups] = {}
    noise: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values: by label, value → hosts."""
        wrong, other = (
            {label: dict(groups) for label, groups in table.items()} for table in (self.wrong, self.other)
        )
        more = {"wanted": {label: dict(groups) for label, groups in self.wanted.items()}, "noise": list(self.noise)}
        return {"v": 1, "hosts": list(self.hosts), "wrong": wrong, "other": other, "same": dict(self.same), **more}


def read_reports(files: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The reports by host. Raises AnswersError listing every invalid file, and for two reports of the same host."""
    problems = []
    result: dict[str, dict[str, Any]] = {}
    came_from: dict[str, str] = {}
    for file in files:
        try:
            report = _read(file)
        except OSError as error:
            problems.append(Problem(file, 0, 0, "", f"cannot be read: {error.strerror}"))
            continue
        except ValueError as error:
            problems.append(Problem(file, 0, 0, "", str(error)))
            continue
        host = report["host"]
        if host in result:
            reason = f"is of {host}, like {came_from[host]}; keep only the newer one"
            problems.append(Problem(file, 0, 0, "", reason))
        result[host], came_from[host] = report, file
    if problems:
        raise AnswersError(problems)
    return result


def _read(file: str) -> dict[str, Any]:
    """A report whose fields used for comparison have been checked. Raises OSError, ValueError."""
    return checked_report(parse_json(read_given(file, LARGEST)))


def checked_report(report: Any) -> dict[str, Any]:
    """The report, if it is one. Raises ValueError."""
    tables = ("same", "node")
    if not isinstance(report, dict) or not all(isinstance(report.get(table), dict) for table in tables):
        raise ValueError("is not a report of a node; create one with: bai-wizard --headless FILE --report N.json")
    version, host = report.get("version"), report.get("host")
    if type(version) is not int or version != 1:
        raise ValueError("is a report of another version; this wizard reads version 1")
    if not isinstance(host, str) or not 1 <= len(host) <= LONGEST_HOST or not is_visible(host):
        raise ValueError("is not a report of a node: its host is not a host name")
    rows = [report["same"], *report["node"].values()]
    if not all(isinstance(row, dict) for row in rows) or not all(map(_is_plain, rows)):
        raise ValueError("is not a report of a node: its values are not plain texts")
    if sum(map(len, rows)) > MAX_VALUES or len(rows) > MAX_VALUES:
        raise ValueError(f"is not a report of a node: it has more than {MAX_VALUES} values")
    return report


def _is_plain(row: dict[str, Any]) -> bool:
    return all(isinstance(value, str | int | float | None) for value in row.values())


def compare(reports: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compare what each node has or should have; values that are missing or unknown count as wrong."""
    required = _by_label({host: report["same"] for host, report in reports.items()})
    suspects = {
        label: groups for label, groups in required.items() if not (len(groups) == 1 and _is_value(groups[0][0]))
    }
    overridden = {host: _overrides(report) for host, report in reports.items()}
    wanted = {label: groups for label, groups in suspects.items() if _is_wanted(label, groups, overridden)}
    rows = {
        host: {
            f"{page}: {label}": value
            for page, rows in report["node"].items()
            for label, value in with_current_labels(rows).items()
        }
        for host, report in reports.items()
    }
    others = {label: groups for label, groups in _by_label(rows).items() if len(groups) > 1}
    noise = tuple(label for label, groups in others.items() if _is_noise(groups))
    return Comparison(
        tuple(reports),
        {label: groups for label, groups in suspects.items() if label not in wanted},
        {label: groups[0][0] for label, groups in required.items() if label not in suspects},
        {label: groups for label, groups in others.items() if label not in noise},
        wanted,
        noise,
    )


def _overrides(report: Mapping[str, Any]) -> tuple[str, ...]:
    keys = report.get("overrides", [])
    return tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()


def _is_wanted(label: str, groups: Groups, overridden: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether all nodes that differ from the majority have an override of what decides this value."""
    key = next((key for start, key in DECIDED_BY if label.startswith(start)), "")
    if not key or not all(_is_value(value) for value, _ in groups):
        return False
    differing = [host for _, hosts in groups[1:] for host in hosts]
    return bool(differing) and all(
        any(each == key or each.startswith(f"{key}.") for each in overridden[host]) for host in differing
    )


def _is_noise(groups: Groups) -> bool:
    """Whether most nodes have a value of their own."""
    count = sum(len(hosts) for _, hosts in groups)
    return count >= FLEET and len(groups) > count // 2


def _is_value(text: str) -> bool:
    return text != MISSING and not text.startswith(CANNOT_TELL)


def _by_label(tables: Mapping[str, Mapping[str, str]]) -> dict[str, Groups]:
    result: dict[str, dict[str, list[str]]] = {}
    for host, table in tables.items():
        for label, value in table.items():
            result.setdefault(label, {}).setdefault(str(value), []).append(host)
    return {
        label: tuple((value, tuple(hosts)) for value, hosts in sorted(values.items(), key=lambda item: -len(item[1])))
        for label, values in result.items()
    }


def compare_lines(result: Comparison) -> Iterator[str]:
    """Human-readable text: what must not differ comes first. No content of a report can start a new line."""
    yield f"{len(result.hosts)} nodes: {host_ranges(result.hosts)}"
    yield ""
    if result.wrong:
        yield "Must be the same on every node, but differs:"
        yield from _table(result.wrong)
    else:
        yield "Everything that must match on every node matches."
    if result.wanted:
        yield "\nDiffers because of an [[override]]:"
        yield from _table(result.wanted)
    if result.same:
        yield "\nIdentical on every node that has it:"
        yield from (f"  {_shown(label)}: {_shown(value)}" for label, value in result.same.items())
    if result.other:
        yield "\nDiffers (allowed):"
        yield from _table(result.other)
    if result.noise:
        yield f"\nDiffers on most nodes (not shown): {', '.join(map(_shown, result.noise))}"


def _table(table: Mapping[str, Groups]) -> Iterator[str]:
    for label, groups in table.items():
        yield f"  {_shown(label)}"
        lines = [(_shown(value), hosts) for value, hosts in groups]
        width = min(max(len(value) for value, _ in lines), 60)
        yield from (f"    {value:<{width}}  {host_ranges(hosts)}" for value, hosts in lines)


def _shown(text: str) -> str:
    return visible(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…", lines=False)
