"""What a symptom search came to, as text for people: which failure it is, which it may be, which it is not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from bai_wizard.core.finding import Finding
from bai_wizard.doctor.search import Candidate
from bai_wizard.doctor.text import Planner, finding_lines

WORDS = {
    "confirmed": "It is this one",
    "waits": "It may be this one, and something else comes first",
    "open": "It may be this one (no probe can tell here)",
    "excluded": "Not this one here",
}


def candidate_lines(found: Sequence[Candidate], plan_of: Planner) -> Iterator[str]:
    """Confirmed ones with their findings, open ones with cause and remedy in words, excluded ones in a line.

    A finding that stands behind several of them is told in full once.
    """
    if not found:
        yield "Nothing is known about this text."
        yield "`bai-wizard doctor` looks at everything; a whole log may say more: bai-wizard doctor --error - < LOG"
        return
    told: set[str] = set()
    for each in found:
        if each.state == "excluded":
            continue
        yield f"{WORDS[each.state]}: {each.failure.title}   [{each.failure.id}]"
        yield f"  line {each.match.number}: {each.match.line[:200]}"
        if each.state == "open":
            yield from _words_of(each)
        for finding in _bad(each):
            lines = finding_lines(finding, plan_of) if finding.id not in told else (f"  as above: {finding.title}",)
            yield from (f"  {line}" for line in lines)
            told.add(finding.id)
        yield ""
    excluded = [each for each in found if each.state == "excluded"]
    for each in excluded:
        yield f"{WORDS['excluded']}: {each.failure.title}   [{each.failure.id}]"


def _words_of(each: Candidate) -> Iterator[str]:
    failure = each.failure
    for label, text in (("why", failure.cause), ("do", failure.remedy), ("risk", failure.risk)):
        if text:
            head = f"  {label + ':':<8} "
            yield from textwrap.wrap(text, 100, initial_indent=head, subsequent_indent=" " * len(head))


def _bad(each: Candidate) -> list[Finding]:
    return [finding for finding in each.findings if finding.result in ("problem", "warning")]
