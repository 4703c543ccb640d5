"""Findings grouped by root cause, with the problems that they cause and the checks that they prevent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from bai_wizard.core.page import Finding
from bai_wizard.doctor.run import BAD_RESULTS
from bai_wizard.pages.check import check_texts

# "crashed" is a bug in the check itself: shown like a problem, but never a root cause.
SHOWN = (*BAD_RESULTS, "crashed")


class Story(Struct, frozen=True):
    """A root cause, the problems that follow from it, and the checks that could not run because of it."""

    cause: Finding
    follows: tuple[Finding, ...] = ()
    waiting: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The cause and what follows from it."""
        return (self.cause, *self.follows)


def stories(findings: Sequence[Finding]) -> tuple[Story, ...]:
    """The problems and warnings by root cause, in the order of the findings."""
    bad = [finding for finding in findings if finding.result in SHOWN]
    causes = {finding.id: _cause_of(finding, bad) for finding in bad}

    def root(id: str) -> str:
        seen = [id]
        while (above := causes.get(seen[-1], "")) and above not in seen:
            seen.append(above)
        return seen[-1]

    result = []
    for first in dict.fromkeys(root(finding.id) for finding in bad):
        members = [finding for finding in bad if root(finding.id) == first]
        cause, *follows = sorted(members, key=lambda finding: finding.id != first)
        waiting = tuple(
            finding for finding in findings if finding.suppressed_by and root(finding.suppressed_by) == first
        )
        result.append(Story(cause, tuple(follows), waiting))
    return tuple(result)


def _cause_of(finding: Finding, bad: Iterable[Finding]) -> str:
    """The problem that usually causes this one, if the node has it; ignored ones explain nothing."""
    text = check_texts().get(finding.id)
    found = {each.id for each in bad if each.result == "problem" and not each.ignored}
    return next((id for id in text.follows if id in found), "") if text is not None else ""


def is_safe(finding: Finding) -> bool:
    """Whether its fix interrupts nothing, takes effect at once, and has no risk to weigh."""
    return (
        bool(finding.remedy)
        and not finding.ignored
        and not finding.risk
        and all(not step.interrupts and step.effect != "reboot" for step in finding.remedy)
    )
