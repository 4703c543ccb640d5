"""`bai-wizard doctor --error TEXT`: which failure says that, and is it this one here?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bai_wizard.core.finding import Check
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import redact
from bai_wizard.doctor.asked import Asked
from bai_wizard.doctor.search import Candidate
from bai_wizard.doctor.text import Planner
from bai_wizard.exits import ExitCode


def search(
    arguments: argparse.Namespace, machine: Machine, about: Asked, checks: Sequence[Check], text: str
) -> ExitCode:
    """4 where a probe confirmed a problem or one that comes first, 6 for a warning, else 0."""
    from bai_wizard.commands.doctor import plan_of
    from bai_wizard.doctor.candidates import candidate_lines
    from bai_wizard.doctor.run import exit_code
    from bai_wizard.doctor.search import search as find

    found = find(text, machine, about.wish.context, checks)
    here = [finding for each in found if each.state in ("confirmed", "waits") for finding in each.findings]
    code = exit_code(here)
    if arguments.json:
        _tell_json(found, lambda finding: plan_of(finding, machine), code)
        return code
    for line in candidate_lines(found, lambda finding: plan_of(finding, machine)):
        print(redact(line))
    return code


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
