"""Findings as text, as JSON Lines, and as a printable page in Markdown or HTML."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bai_wizard import __version__
from bai_wizard.core.display import html_text, markdown_code, markdown_fence, markdown_text
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.event import Event, EventKind, Level
from bai_wizard.core.page import Evidence, Finding
from bai_wizard.core.secret import redact
from bai_wizard.core.step import Plan, Unchanged
from bai_wizard.doctor.drift import remedy_json
from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.user_files import check_requested_file, write_requested_file
from bai_wizard.pages.check import check_texts
from bai_wizard.ui import present

WIDTH = 100
RESULT_WORDS = {
    "problem": "PROBLEM",
    "crashed": "CHECK FAILED",
    "warning": "WARNING",
    "cannot-tell": "UNKNOWN",
    "ok": "ok",
    "not-applicable": "not applicable",
}
Planner = Callable[[Finding], Plan]


def counts(findings: Sequence[Finding]) -> str:
    """Return one line with the number of findings per result, ignored ones counted separately."""
    seen = [finding for finding in findings if not finding.ignored]
    number = {result: sum(finding.result == result for finding in seen) for result in RESULT_WORDS}
    ignored = len(findings) - len(seen)
    return ", ".join(
        [
            _many(number["problem"], "problem"),
            _many(number["warning"], "warning"),
            *([f"{_many(number['crashed'], 'check')} failed to run"] if number["crashed"] else []),
            f"{number['cannot-tell']} unknown",
            f"{number['ok']} passed",
            f"{number['not-applicable']} not applicable",
            *([f"{ignored} ignored with a reason"] if ignored else []),
        ]
    )


def _many(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def report_lines(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    """Yield the whole examination: problems in full, unknown and ignored findings on one line each."""
    yield f"{_one_line(host)}: {counts(findings)}"
    for finding in _wrong(findings):
        yield ""
        yield from finding_lines(finding, plan_of)
    for title, chosen in (
        ("Ignored by the answers", [each for each in findings if each.ignored]),
        ("Unknown", [each for each in findings if each.result == "cannot-tell"]),
        ("Not checked because of another problem", [each for each in findings if each.suppressed_by]),
    ):
        if chosen:
            yield f"\n{title}:"
            for each in chosen:
                yield f"  {_one_line(each.id)}: {_one_line(each.ignored or each.cause)}"


def finding_lines(finding: Finding, plan_of: Planner) -> Iterator[str]:
    """Yield one finding in full."""
    yield f"{RESULT_WORDS[finding.result]}: {_one_line(finding.title)}   [{_one_line(finding.id)}]"
    for evidence in finding.evidence:
        yield from evidence_lines(evidence)
    lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
    for label, text in _paragraphs(finding):
        if label != "Run" or lines:
            yield from _wrapped(label.lower(), text)
    yield from (f"    {line}" for line in lines)


def evidence_lines(evidence: Evidence) -> Iterator[str]:
    """Yield what was checked, where, the actual and the expected value."""
    yield f"  {_one_line(evidence.what)}   ({_one_line(evidence.where)})"
    yield f"    found:    {_short(evidence.found)}"
    if evidence.expected:
        yield f"    expected: {_short(evidence.expected)}"


def remedy_lines(plan: Plan) -> Iterator[str]:
    """Yield the steps of a fix, each with its diff, its disruptions and when it takes effect."""
    for planned in plan.steps:
        if isinstance(planned.verdict, Unchanged):
            continue
        words = present.tags(planned.step)
        yield _one_line(planned.step.describe()) + (f"  ({'; '.join(words)})" if words else "")
        yield from (f"  {line}" for line in present.change_lines(planned))


def _wrapped(label: str, text: str) -> Iterator[str]:
    head = f"  {label + ':':<8} "
    yield from textwrap.wrap(
        redact(text),  # before wrapping: a secret split over two lines would not be found
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(text: str) -> str:
    """A text of a tool or of another node's bundle on one line, so that it cannot forge a line of ours."""
    return " ".join(redact(text).split("\n"))


def _short(text: str) -> str:
    text = redact(text).replace("\n", "\n              ")
    return text if len(text) <= 400 else text[:400] + "…"


_LEVELS: dict[str, Level] = {"problem": "error", "crashed": "warning", "warning": "warning"}


def finding_json(finding: Finding, plan_of: Planner) -> dict[str, Any]:
    """A finding as JSON, with the changes that its fix would make and the id of its check in earlier versions."""
    text = check_texts().get(finding.id)
    formerly = {"formerly": text.formerly} if text and text.formerly else {}
    steps = plan_of(finding).steps if finding.remedy else ()
    return {**finding.to_json(), **formerly, "remedy": list(map(remedy_json, steps))}


def write_findings(host: str, findings: Sequence[Finding], plan_of: Planner, code: ExitCode) -> None:
    """Write all findings to standard output."""
    for number, finding in enumerate(findings, start=1):
        data = finding_json(finding, plan_of)
        level = "info" if finding.ignored else _LEVELS.get(finding.result, "info")
        write_jsonl("finding", finding.title, data, page=finding.page, level=level, number=number)
    results = [finding.result for finding in findings]
    data = {
        "version": 1,
        "host": host,
        "code": int(code),
        "counts": {result: results.count(result) for result in sorted(set(results))},
        "ignored": [finding.id for finding in findings if finding.ignored],
    }
    write_jsonl("summary", "", data, number=len(findings) + 1)


def write_jsonl(
    kind: EventKind,
    text: str,
    data: dict[str, Any] | None = None,
    *,
    page: str = "",
    level: Level = "info",
    number: int = 0,
) -> None:
    """Write one event that does not belong to a run."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    event = Event(t=now, run="", id=number, kind=kind, page=page, level=level, text=text, data=data)
    sys.stdout.write(event.to_line())
    sys.stdout.flush()


STYLE = """
body { font: 11pt/1.4 sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.4em 0 .3em }
table { border-collapse: collapse; margin: .4em 0 }
th, td { border: 1px solid #999; padding: .15em .5em; text-align: left;
vertical-align: top; overflow-wrap: anywhere } pre { background: #f3f3f3; padding: .5em; white-space: pre-wrap }
code { font-size: .9em } @media print { body { margin: 0; max-width: none } h2, tr { break-inside: avoid } }
"""


def check_report(file: str) -> None:
    """Raise PreflightError if `write_report` would refuse this file."""
    if not file.endswith((".md", ".html", ".htm")):
        raise PreflightError(f"--report {file}: the name must end in .md or .html")
    check_requested_file(file)


def write_report(file: str, host: str, findings: Sequence[Finding], plan_of: Planner) -> None:
    """Write `.md` or `.html`. Raises PreflightError for another extension or a path that cannot be written."""
    check_report(file)
    lines = _markdown if file.endswith(".md") else _html
    text = "\n".join(lines(host, findings, plan_of)) + "\n"
    # Each value is redacted where it is escaped; redacting the whole text could break markup if a secret is `body`,
    # say.
    write_requested_file(file, text.encode(errors="backslashreplace"))


def _written() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, bai-wizard {__version__}"


def _wrong(findings: Sequence[Finding]) -> list[Finding]:
    return [each for each in findings if each.result in ("problem", "warning", "crashed") and not each.ignored]


def _others(findings: Sequence[Finding]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (heading, rows of id and text) for findings that need no action."""
    chosen = (
        ("Ignored, with reasons", [(each.id, each.ignored) for each in findings if each.ignored]),
        ("Unknown", [(each.id, each.cause) for each in findings if each.result == "cannot-tell"]),
        ("Passed", [(each.id, each.title) for each in findings if each.result == "ok"]),
    )
    for heading, rows in chosen:
        if rows:
            yield heading, rows


def _paragraphs(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of what to know and to do about a finding."""
    labels = {
        "Cause": finding.cause,
        "Fix": finding.guidance,
        "Risk": finding.risk,
        "Owner": "site team: the doctor only checks this and never changes it" if finding.owner == "site" else "",
        "Run": f"bai-wizard doctor --fix {finding.id}" if finding.remedy else "",
    }
    yield from ((label, text) for label, text in labels.items() if text)


def _markdown(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    yield from (f"# {markdown_text(host)}: diagnosis", "", _written(), "", f"**{counts(findings)}**", "")
    for finding in _wrong(findings):
        yield from (
            f"## {RESULT_WORDS[finding.result]}: {markdown_text(finding.title)}",
            "",
            markdown_code(finding.id),
            "",
        )
        if finding.evidence:
            yield from ("| what | where | found | expected |", "|---|---|---|---|")
            for each in finding.evidence:
                cells = map(markdown_text, (each.what, each.where, each.found, each.expected))
                yield f"| {' | '.join(cells)} |"
            yield ""
        for label, text in _paragraphs(finding):
            yield from (f"**{label}:** {markdown_text(text)}", "")
        lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
        if lines:
            yield from (*markdown_fence(lines, "diff"), "")
    for heading, rows in _others(findings):
        yield from (f"## {heading}", "", *(f"* {markdown_code(id)} {markdown_text(text)}" for id, text in rows), "")


def _html(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f"<title>{html_text(host)}: diagnosis</title><style>{STYLE}</style></head><body>"
    yield f"<h1>{html_text(host)}: diagnosis</h1><p>{html_text(_written())}</p>"
    yield f"<p><b>{html_text(counts(findings))}</b></p>"
    for finding in _wrong(findings):
        yield f"<h2>{RESULT_WORDS[finding.result]}: {html_text(finding.title)}</h2>"
        yield f"<p><code>{html_text(finding.id)}</code></p>"
        if finding.evidence:
            yield "<table><tr><th>what<th>where<th>found<th>expected</tr>"
            for each in finding.evidence:
                cells = (each.what, each.where, each.found, each.expected)
                yield f"<tr>{''.join(f'<td>{html_text(text)}' for text in cells)}</tr>"
            yield "</table>"
        yield from (f"<p><b>{label}:</b> {html_text(text)}</p>" for label, text in _paragraphs(finding))
        lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
        if lines:
            yield "<pre>" + html_text("\n".join(lines), lines=True) + "</pre>"
    for heading, rows in _others(findings):
        items = "".join(f"<li><code>{html_text(id)}</code> {html_text(text)}</li>" for id, text in rows)
        yield f"<h2>{html_text(heading)}</h2><ul>{items}</ul>"
    yield "</body></html>"
