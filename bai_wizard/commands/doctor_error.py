"""`bai-wizard doctor --error TEXT`: which failure says that, and is it this one here?"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Sequence

from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact
from bai_wizard.doctor.asked import Asked
from bai_wizard.doctor.search import Candidate
from bai_wizard.doctor.text import Planner, finding_lines
from bai_wizard.exits import ExitCode

WORDS = {
    "confirmed": "It is this one",
    "open": "It may be this one (no probe can tell here)",
    "excluded": "Not this one here",
}


def search(
    arguments: argparse.Namespace, machine: Machine, about: Asked, checks: Sequence[Check], text: str
) -> ExitCode:
    """4 where a probe confirmed a problem, 6 for a warning, else 0."""
    from bai_wizard.commands.doctor import plan_of
    from bai_wizard.doctor.run import exit_code
    from bai_wizard.doctor.search import search as find

    found = find(text, machine, about.wish.context, checks)
    confirmed = [finding for each in found if each.state == "confirmed" for finding in each.findings]
    code = exit_code(confirmed)
    if arguments.json:
        _tell_json(found, lambda finding: plan_of(finding, machine), code)
        return code
    for line in candidate_lines(found, lambda finding: plan_of(finding, machine)):
        print(redact(line))
    return code


def candidate_lines(found: Sequence[Candidate], plan_of: Planner) -> Iterator[str]:
    """Confirmed ones with their findings, open ones with cause and remedy in words, excluded ones in a line."""
    if not found:
        yield "Nothing is known about this text."
        yield "`bai-wizard doctor` looks at everything; a whole log may say more: bai-wizard doctor --error - < LOG"
        return
    for each in found:
        if each.state == "excluded":
            continue
        yield f"{WORDS[each.state]}: {each.failure.title}   [{each.failure.id}]"
        yield f"  line {each.match.number}: {each.match.line[:200]}"
        if each.state == "confirmed":
            yield from (f"  {line}" for finding in _bad(each) for line in finding_lines(finding, plan_of))
        else:
            yield from _words_of(each)
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


def _tell_json(found: Sequence[Candidate], plan_of: Planner, code: ExitCode) -> None:
    from bai_wizard.doctor.jsonl import finding_json, write

    for number, each in enumerate(found, start=1):
        failure = each.failure
        data = {
            "failure": failure.id,
            "state": each.state,
            "score": each.match.score,
            "line": each.match.line,
            "number": each.match.number,
            "cause": failure.cause,
            "remedy": failure.remedy,
            "risk": failure.risk,
            "owner": failure.owner,
            "findings": [finding_json(finding, plan_of) for finding in each.findings],
        }
        write("finding", failure.title, data, page=failure.page, number=number)
    write("summary", "", {"version": 1, "code": int(code)}, number=len(found) + 1)
