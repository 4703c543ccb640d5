"""From a pasted text to the failure behind it: ranked by words, then decided by the probes that can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.rank import Match, rank
from bai_wizard.doctor.symptoms import Failure

# More than these are no candidates any more.
MOST_CANDIDATES = 12
# A candidate that is so much worse than the best one is not asked about.
FAR_BEHIND = 0.35

State = Literal["confirmed", "waits", "open", "excluded"]
_ORDER: tuple[State, ...] = ("confirmed", "waits", "open", "excluded")


@dataclass(frozen=True)
class Candidate:
    """A failure that the text may mean, and what this node says to it.

    confirmed: a probe found it here; excluded: all of its probes found nothing; open: no probe could tell; waits:
    nobody looked, because a root cause was found that has to be mended first: it is among the findings.
    """

    match: Match
    state: State
    findings: tuple[Finding, ...] = ()

    @property
    def failure(self) -> Failure:
        """The failure itself."""
        return self.match.failure


def likely(text: str, page: str = "") -> Failure | None:
    """The failure that a text most likely means, by its words alone; None where nothing is known about it.

    Where one line fits several equally well, one of `page`, whose step said it, comes first, then one of the node.
    """
    matches = rank(text)
    best = [
        match.failure for match in matches if (match.score, match.number) == (matches[0].score, matches[0].number)
    ]
    return min(best, key=lambda failure: (failure.page != page, failure.page != "node"), default=None)


def candidates(text: str) -> tuple[Match, ...]:
    """The failures worth asking this node about."""
    matches = rank(text)
    return tuple(match for match in matches if match.score >= matches[0].score - FAR_BEHIND)[:MOST_CANDIDATES]


def deciding(matches: Sequence[Match], checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that decide between these failures, with the root causes that they depend on."""
    wanted = {name for match in matches for name in match.failure.checks}
    while more := {need for check in checks if check.id in wanted for need in check.needs} - wanted:
        wanted |= more
    return tuple(check for check in checks if check.id in wanted)


def search(text: str, machine: Machine, context: Context, checks: Sequence[Check]) -> tuple[Candidate, ...]:
    """The candidates, those that a probe confirmed on this node first."""
    from bai_wizard.doctor.run import examine

    matches = candidates(text)
    return decide(matches, examine(deciding(matches, checks), machine, context))


def decide(matches: Sequence[Match], findings: Sequence[Finding]) -> tuple[Candidate, ...]:
    """Joins what the words say with what the probes found."""
    found = [_candidate(match, findings) for match in matches]
    return tuple(sorted(found, key=lambda each: _ORDER.index(each.state)))


def _candidate(match: Match, findings: Sequence[Finding]) -> Candidate:
    own = tuple(finding for finding in findings if finding.id in match.failure.checks)
    if any(finding.result in ("problem", "warning") for finding in own):
        return Candidate(match, "confirmed", own)
    causes = {finding.suppressed_by for finding in own} - {""}
    if causes:
        first = tuple(finding for finding in findings if finding.id in causes and finding.result == "problem")
        return Candidate(match, "waits", own + first)
    told = {finding.id for finding in own if finding.result == "ok" or _is_elsewhere(finding)}
    state: State = "excluded" if own and told >= set(match.failure.checks) else "open"
    return Candidate(match, state, own)


def _is_elsewhere(finding: Finding) -> bool:
    """True where the probe says that such a thing is not on this node at all."""
    return finding.result == "not-applicable" and not finding.suppressed_by
