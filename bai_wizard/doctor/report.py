"""An examination as one printable page for people: Markdown or HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from bai_wizard import __version__
from bai_wizard.core.errors import PreflightError
from bai_wizard.core.finding import Finding
from bai_wizard.core.secret import redact
from bai_wizard.doctor.text import WORDS, Planner, counts, remedy_lines

STYLE = """
body { font: 11pt/1.4 sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.4em 0 .3em }
table { border-collapse: collapse; margin: .4em 0 }
th, td { border: 1px solid #999; padding: .15em .5em; text-align: left;
vertical-align: top; overflow-wrap: anywhere } pre { background: #f3f3f3; padding: .5em; white-space: pre-wrap }
code { font-size: .9em } @media print { body { margin: 0; max-width: none } h2, tr { break-inside: avoid } }
"""


def write_report(file: str, host: str, findings: Sequence[Finding], plan_of: Planner) -> None:
    """Writes `.md` or `.html`. Raises PreflightError for another ending or a place that cannot be written."""
    if file.endswith(".md"):
        text = "\n".join(_markdown(host, findings, plan_of)) + "\n"
    elif file.endswith((".html", ".htm")):
        text = "\n".join(_html(host, findings, plan_of)) + "\n"
    else:
        raise PreflightError(f"--report {file}: the name must end in .md or .html")
    try:
        Path(file).write_text(redact(text), encoding="utf-8")
    except OSError as error:
        raise PreflightError(f"--report {file}: {error.strerror}") from error


def _written() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, bai-wizard {__version__}"


def _wrong(findings: Sequence[Finding]) -> list[Finding]:
    return [each for each in findings if each.result in ("problem", "warning", "crashed") and not each.ignored]


def _others(findings: Sequence[Finding]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(heading, rows of id and text) for what needs no action."""
    chosen = (
        ("Ignored, with the reason", [(each.id, each.ignored) for each in findings if each.ignored]),
        ("Nobody can tell", [(each.id, each.cause) for each in findings if each.result == "cannot-tell"]),
        ("In order", [(each.id, each.title) for each in findings if each.result == "ok"]),
    )
    for heading, rows in chosen:
        if rows:
            yield heading, rows


def _paragraphs(finding: Finding) -> Iterator[tuple[str, str]]:
    yield from (
        (label, text)
        for label, text in (("Why", finding.cause), ("Do", finding.guidance), ("Risk", finding.risk))
        if text
    )
    if finding.owner == "site":
        yield "Owner", "site: the doctor looks at this and never changes it"
    if finding.remedy:
        yield "Remedy", f"bai-wizard doctor --fix {finding.id}"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _markdown(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    yield from (f"# {host}: examination", "", _written(), "", f"**{counts(findings)}**", "")
    for finding in _wrong(findings):
        yield from (f"## {WORDS[finding.result]}: {_cell(finding.title)}", "", f"`{finding.id}`", "")
        if finding.evidence:
            yield from ("| what | where | found | expected |", "|---|---|---|---|")
            for each in finding.evidence:
                yield f"| {' | '.join(_cell(text) for text in (each.what, each.where, each.found, each.expected))} |"
            yield ""
        for label, text in _paragraphs(finding):
            yield from (f"**{label}:** {_cell(text)}", "")
        lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
        if lines:
            yield from ("```diff", *lines, "```", "")
    for heading, rows in _others(findings):
        yield from (f"## {heading}", "", *(f"* `{id}` {_cell(text)}" for id, text in rows), "")


def _html(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f"<title>{escape(host)}: examination</title><style>{STYLE}</style></head><body>"
    yield f"<h1>{escape(host)}: examination</h1><p>{escape(_written())}</p><p><b>{escape(counts(findings))}</b></p>"
    for finding in _wrong(findings):
        yield f"<h2>{WORDS[finding.result]}: {escape(finding.title)}</h2><p><code>{escape(finding.id)}</code></p>"
        if finding.evidence:
            yield "<table><tr><th>what<th>where<th>found<th>expected</tr>"
            for each in finding.evidence:
                cells = (each.what, each.where, each.found, each.expected)
                yield f"<tr>{''.join(f'<td>{escape(text)}' for text in cells)}</tr>"
            yield "</table>"
        yield from (f"<p><b>{label}:</b> {escape(text)}</p>" for label, text in _paragraphs(finding))
        lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
        if lines:
            yield "<pre>" + escape("\n".join(lines)) + "</pre>"
    for heading, rows in _others(findings):
        items = "".join(f"<li><code>{escape(id)}</code> {escape(text)}</li>" for id, text in rows)
        yield f"<h2>{escape(heading)}</h2><ul>{items}</ul>"
    yield "</body></html>"
