"""One examination: every check looked at, its findings demoted where the answers say so, root causes told first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from bai_wizard.core.context import Context
from bai_wizard.core.finding import Check, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.doctor.schedule import look_all
from bai_wizard.exits import ExitCode
from bai_wizard.pages import ORDER, load


def all_checks() -> tuple[Check, ...]:
    """The checks of every page, in the wizard's order."""
    return tuple(check for name in ORDER for check in load(name).checks())


def chosen(checks: Iterable[Check], only: Collection[str] = (), skip: Collection[str] = ()) -> tuple[Check, ...]:
    """The checks asked for. An id may be a page's name: then all of its checks are meant."""
    return tuple(
        check
        for check in checks
        if (not only or check.id in only or check.page in only) and check.id not in skip and check.page not in skip
    )


def examine(
    checks: Iterable[Check], machine: Machine, context: Context, ignored: Mapping[str, str] | None = None
) -> list[Finding]:
    """All findings: problems first, then warnings, then what nobody can tell, then the rest.

    `ignored` maps ids to reasons: such a check still runs, its finding is demoted and says why.
    """
    wanted = tuple(checks)
    found = look_all(wanted, machine, context)
    return _sorted([_demoted(finding, ignored or {}) for finding in found], wanted)


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """4 for a problem, 6 for warnings only, else 0. What nobody can tell is neither."""
    results = {finding.result for finding in findings if not finding.ignored}
    if "problem" in results:
        return ExitCode.FAILED
    return ExitCode.OPTIONAL_FAILED if "warning" in results or "crashed" in results else ExitCode.OK


def _demoted(finding: Finding, ignored: Mapping[str, str]) -> Finding:
    reason = ignored.get(finding.id, "")
    return replace(finding, ignored=reason) if reason and finding.result in ("problem", "warning") else finding


_ORDER = ("problem", "crashed", "warning", "cannot-tell", "ok", "not-applicable")


def _sorted(findings: list[Finding], checks: Sequence[Check]) -> list[Finding]:
    """What explains other findings comes first among its equals, then the order of the pages."""
    places = {check.id: (not check.root_cause, place) for place, check in enumerate(checks)}
    last = (True, len(places))
    return sorted(
        findings,
        key=lambda finding: (bool(finding.ignored), _ORDER.index(finding.result), places.get(finding.id, last)),
    )
