"""In which order checks are looked at: all at once, but none before what it needs has been answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.children import Children


def look_all(checks: Sequence[Check], machine: Machine, context: Context) -> Iterator[Finding]:
    """Yields findings as they come; a check whose need has a problem is not looked at, and says so.

    Whatever hangs, the whole takes no longer than the longest deadline of these checks.
    """
    end = time.monotonic() + max((check.deadline for check in checks), default=0.0)
    waiting, blame = groups(checks), _Blame(checks)
    children = Children(machine, context)
    try:
        while True:
            ready = [group for group in waiting if blame.is_answered(group)]
            waiting = [group for group in waiting if group not in ready]
            for group in ready:
                yield from blame.suppressed(group)
                children.start([check for check in group if not blame.cause_of(check)])
            if ready:
                continue
            if not children.at_work:
                break
            answers = children.answers(end) if time.monotonic() < end else children.give_up()
            for check, findings in answers:
                yield from blame.take(check, findings)
    finally:
        children.close()


def groups(checks: Sequence[Check]) -> list[list[Check]]:
    """Who shares a child: the checks of a page that are as many needs deep.

    A dear one has a child of its own; shared ones stay together, in the order of their needs.
    """
    depths = _depths(checks)
    made: dict[tuple[str, int], list[Check]] = {}
    for check in sorted(checks, key=lambda check: (check.cost != "dear", depths[check.id])):
        name = check.page if check.cost == "cheap" else check.id if check.cost == "dear" else f"{check.page}, shared"
        made.setdefault((name, 0 if check.cost == "shared" else depths[check.id]), []).append(check)
    return list(made.values())


def _depths(checks: Sequence[Check]) -> dict[str, int]:
    """How many checks have to answer one after the other before each; needs of other examinations do not count."""
    depths = {check.id: 0 for check in checks}
    for _ in checks:
        for check in checks:
            depths[check.id] = max((1 + depths[name] for name in check.needs if name in depths), default=0)
        if all(depths[check.id] > depths[name] for check in checks for name in check.needs if name in depths):
            break
    return depths


class _Blame:
    """Which checks have answered, and which root cause stands behind those that are not to be trusted."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._open = {check.id for check in checks}
        self._causes: dict[str, str] = {}

    def take(self, check: Check, findings: Sequence[Finding]) -> Sequence[Finding]:
        """An answer has come; it counts unless what it needs, looked at by the same child, has a problem."""
        self._open.discard(check.id)
        cause = self.cause_of(check)
        if cause:
            self._causes[check.id] = cause
            return (_suppressed(check, cause),)
        if any(finding.result == "problem" for finding in findings):
            self._causes[check.id] = check.id
        return findings

    def is_answered(self, group: Sequence[Check]) -> bool:
        """True when everything that these checks need from others has been answered."""
        own = {check.id for check in group}
        return not any(name in self._open and name not in own for check in group for name in check.needs)

    def cause_of(self, check: Check) -> str:
        """The id of the root cause that explains this one too; empty where there is none."""
        return next((self._causes[name] for name in check.needs if name in self._causes), "")

    def suppressed(self, group: Sequence[Check]) -> Iterator[Finding]:
        """The findings of those that are not to be looked at."""
        for check in group:
            cause = self.cause_of(check)
            if cause:
                self._open.discard(check.id)
                self._causes[check.id] = cause
                yield _suppressed(check, cause)


def _suppressed(check: Check, cause: str) -> Finding:
    return Finding(
        check.id,
        "not-applicable",
        check.title,
        check.page,
        cause=f"not checked: {cause} comes first",
        suppressed_by=cause,
        owner=check.owner,
    )
