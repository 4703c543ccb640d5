"""Findings as text for people: what, where, found, expected; why; what to do; the remedy with its diff."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.plan import Plan
from bai_wizard.core.step import Blocked, Pending

WIDTH = 100
WORDS = {
    "problem": "PROBLEM",
    "crashed": "CHECK FAILED",
    "warning": "WARNING",
    "cannot-tell": "CANNOT TELL",
    "ok": "ok",
    "not-applicable": "not applicable",
}
Planner = Callable[[Finding], Plan]


def counts(findings: Sequence[Finding]) -> str:
    """One line: how many of each, ignored ones apart."""
    seen = [finding for finding in findings if not finding.ignored]
    number = {result: sum(finding.result == result for finding in seen) for result in WORDS}
    told = [
        _many(number["problem"], "problem"),
        _many(number["warning"], "warning"),
        f"{number['cannot-tell']} cannot tell",
        f"{number['ok']} ok",
        f"{number['not-applicable']} not applicable",
    ]
    if number["crashed"]:
        told.insert(2, f"{_many(number['crashed'], 'check')} failed")
    if len(seen) < len(findings):
        told.append(f"{len(findings) - len(seen)} ignored with a reason")
    return ", ".join(told)


def _many(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def report_lines(host: str, findings: Sequence[Finding], plan_of: Planner) -> Iterator[str]:
    """The whole examination: what is wrong in full, what cannot be told and what was ignored in a line each."""
    yield f"{host}: {counts(findings)}"
    for finding in findings:
        if finding.result in ("problem", "warning", "crashed") and not finding.ignored:
            yield ""
            yield from finding_lines(finding, plan_of)
    for title, chosen in (
        ("Ignored, as the answers say", [each for each in findings if each.ignored]),
        ("Nobody can tell", [each for each in findings if each.result == "cannot-tell"]),
        ("Not checked, because something else comes first", [each for each in findings if each.suppressed_by]),
    ):
        if chosen:
            yield f"\n{title}:"
            for each in chosen:
                yield f"  {each.id}: {each.ignored or each.cause}"


def finding_lines(finding: Finding, plan_of: Planner) -> Iterator[str]:
    """One finding in full."""
    yield f"{WORDS[finding.result]}: {finding.title}   [{finding.id}]"
    for evidence in finding.evidence:
        yield from evidence_lines(evidence)
    for label, text in (("why", finding.cause), ("do", finding.guidance), ("risk", finding.risk)):
        if text:
            yield from _paragraph(label, text)
    if finding.owner == "site":
        yield from _paragraph("owner", "site: the doctor looks at this and never changes it")
    lines = list(remedy_lines(plan_of(finding))) if finding.remedy else []
    if lines:
        yield from _paragraph("remedy", f"bai-wizard doctor --fix {finding.id}")
        yield from (f"    {line}" for line in lines)


def evidence_lines(evidence: Evidence) -> Iterator[str]:
    """What was looked at, where, what stands there, what should."""
    yield f"  {evidence.what}   ({evidence.where})"
    yield f"    found:    {_short(evidence.found)}"
    if evidence.expected:
        yield f"    expected: {_short(evidence.expected)}"


def remedy_lines(plan: Plan) -> Iterator[str]:
    """The steps of a remedy, each with its diff, what it interrupts and when it takes effect."""
    for planned in plan.steps:
        step, verdict = planned.step, planned.verdict
        if isinstance(verdict, Pending):
            tags = [f"interrupts {name}" for name in step.interrupts]
            tags += [f"takes effect: {step.effect}"] if step.effect != "now" else []
            tail = f"  ({'; '.join(tags)})" if tags else ""
            yield step.describe() + tail
            for change in verdict.changes:
                yield from (f"  {line}" for line in change.diff().rstrip("\n").split("\n"))
            if verdict.known_after:
                yield f"  more is known after: {verdict.known_after}"
        elif isinstance(verdict, Blocked):
            yield f"{step.describe()}: cannot be done: {verdict.reason}"


def _paragraph(label: str, text: str) -> Iterator[str]:
    head = f"  {label + ':':<8} "
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short(text: str) -> str:
    return text if len(text) <= 400 else text[:400] + "…"
