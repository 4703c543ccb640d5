"""Findings as JSON lines: one event of kind `finding` each, a `summary` at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bai_wizard.core.event import Event, EventKind, Level
from bai_wizard.core.finding import Finding
from bai_wizard.core.secret import redact
from bai_wizard.doctor.remedy import remedy_json
from bai_wizard.doctor.text import Planner
from bai_wizard.exits import ExitCode

_LEVELS: dict[str, Level] = {"problem": "error", "crashed": "warning", "warning": "warning"}


def finding_json(finding: Finding, plan_of: Planner) -> dict[str, Any]:
    """A finding with the changes that its remedy would make."""
    return {**finding.to_json(), "remedy": remedy_json(plan_of(finding)) if finding.remedy else []}


def write_findings(host: str, findings: Sequence[Finding], plan_of: Planner, code: ExitCode) -> None:
    """All of them on standard output."""
    for number, finding in enumerate(findings, start=1):
        data = finding_json(finding, plan_of)
        level = "info" if finding.ignored else _LEVELS.get(finding.result, "info")
        write("finding", finding.title, data, page=finding.page, level=level, number=number)
    results = [finding.result for finding in findings]
    data = {
        "version": 1,
        "host": host,
        "code": int(code),
        "counts": {result: results.count(result) for result in sorted(set(results))},
        "ignored": [finding.id for finding in findings if finding.ignored],
    }
    write("summary", "", data, number=len(findings) + 1)


def write(
    kind: EventKind,
    text: str,
    data: dict[str, Any] | None = None,
    *,
    page: str = "",
    level: Level = "info",
    number: int = 0,
) -> None:
    """One event outside any run."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    event = Event(t=now, run="", id=number, kind=kind, page=page, level=level, text=text, data=data)
    sys.stdout.write(redact(json.dumps(event.to_json(), ensure_ascii=False)) + "\n")
    sys.stdout.flush()
