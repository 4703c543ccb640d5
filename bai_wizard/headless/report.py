"""The handover report of a run: what the node is now, what was changed, what waits, what comes next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bai_wizard import __version__
from bai_wizard.compose import Wish
from bai_wizard.core.context import Context
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact
from bai_wizard.detect import detect
from bai_wizard.engine.run.result import Result
from bai_wizard.headless.sameness import sameness
from bai_wizard.wizard.following import following


def write_report(file: str, machine: Machine, run: str, result: Result, wish: Wish | None = None) -> None:
    """Writes Markdown (`.md`) or JSON (`.json`). Raises PreflightError for another ending or an unwritable place."""
    report = make_report(machine, run, result, wish)
    if file.endswith(".json"):
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    elif file.endswith(".md"):
        text = markdown(report)
    else:
        raise PreflightError(f"--report {file}: the name must end in .md or .json")
    try:
        Path(file).write_text(redact(text))
    except OSError as error:
        raise PreflightError(f"--report {file}: {error.strerror}") from error


def make_report(machine: Machine, run: str, result: Result, wish: Wish | None) -> dict[str, Any]:
    """The report as data; `compare` reads it back."""
    around = wish.context if wish else Context(host=machine.host)
    found = detect(machine, wish.settings if wish else {}, around)
    return {
        "version": 1,
        "wizard": __version__,
        "host": machine.host,
        "written": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "run": run,
        "same": sameness(machine, wish),
        "node": {page: dict(rows) for page, rows in found.items()},
        "result": result.to_json(),
        "next": following(around.roles, around.backend_ai),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as one page for people."""
    result = report["result"]
    lines = [f"# {report['host']}: prepared for Backend.AI", ""]
    lines += [f"{report['written']}, bai-wizard {report['wizard']}, run {report['run'] or 'none was needed'}", ""]
    counts = ", ".join(f"{number} {name}" for name, number in result["counts"].items())
    lines += [f"**Result:** {counts}; exit code {result['code']}", ""]
    for page, rows in report["node"].items():
        if rows:
            lines += [f"## {page}", "", "| | |", "|---|---|"]
            lines += [f"| {label} | {value} |" for label, value in rows.items()] + [""]
    changed = [step for step in result["steps"] if step["outcome"] == "changed"]
    failed = [step for step in result["steps"] if step["outcome"] == "failed"]
    for title, steps in (("Changed", changed), ("Failed", failed)):
        if steps:
            lines += [
                f"## {title}",
                "",
                *(f"* `{step['step']}` {step['describe']} {step['text']}" for step in steps),
                "",
            ]
    for title, names in (("At the next login", result["next_login"]), ("After a reboot", result["reboot"])):
        if names:
            lines += [f"## {title}", "", *(f"* `{name}`" for name in names), ""]
    if result["lasting"]:
        lines += ["## Not taken back by undo", "", *(f"* {text}" for text in result["lasting"]), ""]
    return "\n".join([*lines, "## Next", "", *(f"* {text}" for text in report["next"]), ""])
