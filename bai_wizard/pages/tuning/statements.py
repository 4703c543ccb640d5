"""What our own files on the node say is to hold: the doctor needs no answers for that."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bai_wizard.core.view import NodeView
from bai_wizard.pages.tuning import limits_file, sysctl_file
from bai_wizard.pages.tuning.boot import Assignment, SysctlFile, parse
from bai_wizard.pages.tuning.data import Parameter, catalogue
from bai_wizard.pages.tuning.own_file import read
from bai_wizard.pages.tuning.pam_limits import amount
from bai_wizard.pages.tuning.pam_limits import parse as parse_limits
from bai_wizard.pages.tuning.wanted import dotted
from bai_wizard.steps.better import Better
from bai_wizard.steps.edit_lines import EditLines

_KEPT = re.compile(r"# (?P<key>[\w./:@-]+): kept .* \([\w-]+: (?P<wanted>.*)\)$")
_KEPT_LIMIT = re.compile(r"# (?P<user>\S+) (?P<sort>hard|soft) (?P<item>\w+): kept .* \(wanted: (?P<wanted>\w+)\)$")


@dataclass(frozen=True)
class Statement:
    """A parameter that is to be at least as good as `value`."""

    key: str
    value: str
    better: Better


def statements(view: NodeView) -> tuple[Statement, ...]:
    """What our sysctl file asks for, kept values included; nothing where there is no such file."""
    text = view.text(sysctl_file.PATH) if view.entry(sysctl_file.PATH) is not None else None
    found: dict[str, Statement] = {}
    for line in read(text).upper:
        kept = _KEPT.match(line)
        if kept:
            found[kept["key"]] = _statement(kept["key"], kept["wanted"].strip("\"'"))
        for assignment in parse(sysctl_file.PATH, sysctl_file.PATH, line):
            if assignment.value is not None:
                key = dotted(assignment.key)
                found[key] = _statement(key, assignment.value.strip("\"'"))
    return tuple(found.values())


def _statement(key: str, value: str) -> Statement:
    return Statement(key, value, catalogue().get(key, Parameter(key)).better)


@dataclass(frozen=True)
class LimitStatement:
    """A limit of a user's logins that is to be at least `value`."""

    user: str
    sort: str
    item: str
    value: float


def limit_statements(view: NodeView) -> tuple[LimitStatement, ...]:
    """What our limits file asks for, kept limits included."""
    text = view.text(limits_file.PATH) if view.entry(limits_file.PATH) is not None else None
    found = []
    for line in read(text).upper:
        kept = _KEPT_LIMIT.match(line)
        if kept:
            found.append(LimitStatement(kept["user"], kept["sort"], kept["item"], amount(kept["wanted"]) or 0))
        for limit in parse_limits(limits_file.PATH, line):
            sorts = ("hard", "soft") if limit.sort == "-" else (limit.sort,)
            found += [LimitStatement(limit.domain, sort, limit.item, limit.value) for sort in sorts]
    return tuple(found)


def edits(
    id: str, lines: Iterable[tuple[str, str, str]], why: str, targets: dict[str, str] | None = None
) -> tuple[EditLines, ...]:
    """Steps that replace lines: (path, old, new), one step for each file."""
    by_path: dict[str, list[tuple[str, str]]] = {}
    for path, old, new in lines:
        by_path.setdefault(path, []).append((old, new))
    return tuple(
        EditLines(
            id=f"tuning.{id}.{number}",
            path=path,
            replacements=tuple(pairs),
            why=why,
            target=(targets or {}).get(path, ""),
        )
        for number, (path, pairs) in enumerate(by_path.items(), start=1)
    )


def commented(line: str) -> str:
    """A line put out of effect; what it said stays readable."""
    return f"# bai-wizard: {line.strip()}"


def target_of(assignment: Assignment) -> str:
    """Where a changed copy belongs: a file outside /etc is replaced by one of the same name in /etc/sysctl.d."""
    if assignment.path.startswith("/etc/"):
        return assignment.path
    return f"/etc/sysctl.d/{assignment.file.rpartition('/')[2]}"


def of_others(files: Iterable[SysctlFile]) -> tuple[Assignment, ...]:
    """All assignments that are not ours."""
    return tuple(item for file in files for item in file.assignments if item.path != sysctl_file.PATH)
