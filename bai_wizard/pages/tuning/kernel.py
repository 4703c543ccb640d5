"""All decisions about kernel parameters: the profile's, the answers', and those that follow from them."""

from __future__ import annotations

from collections.abc import Collection

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Known
from bai_wizard.pages.known_ports import ports_of
from bai_wizard.pages.tuning.boot import SysctlFile, winner
from bai_wizard.pages.tuning.decide import Decision, Record, decide, records
from bai_wizard.pages.tuning.facts import TuningFacts
from bai_wizard.pages.tuning.own_file import OwnFile, read
from bai_wizard.pages.tuning.settings import TuningSettings
from bai_wizard.pages.tuning.sysctl_file import without_ours
from bai_wizard.pages.tuning.wanted import NR_OPEN, PORT_RANGE, RESERVED_PORTS, Wanted, derived, dotted, wanted
from bai_wizard.steps.better import Interval, intervals, port_list, union, within

ABSENT = Absent()


def remembered(found: OwnFile) -> Collection[str]:
    """The keys that were ours: our part has a comment of each."""
    return records(found.upper).keys() if found.is_ours else ()


def decisions(
    settings: TuningSettings, facts: TuningFacts, context: Context, open_files: int
) -> tuple[Decision, ...]:
    """What becomes of each parameter. `open_files` is the largest limit of open files that is written."""
    others = without_ours(facts.sysctl_files)
    found = read(facts.own_sysctl)
    known: dict[str, Record] = records(found.upper) if found.is_ours else {}

    def decided(item: Wanted) -> Decision:
        live = facts.live.get(item.key, ABSENT)
        return decide(item, live, winner(others, item.key), known.get(item.key), loadable=not facts.in_container)

    result = [decided(item) for item in wanted(settings)]
    named = {item.wanted.key for item in result} | {dotted(key) for key in settings.exclude}
    if NR_OPEN not in named and _is_too_low(facts, others, known.get(NR_OPEN), open_files):
        why = "Limits of open files below ask for it; one above it would lock logins out."
        result.append(decided(derived(NR_OPEN, str(open_files), why)))
    if RESERVED_PORTS not in named:
        ports = reserved_ports(settings, context, _port_range(result, facts))
        if ports:
            result.append(decided(derived(RESERVED_PORTS, port_list(ports))))
    return tuple(result)


def _is_too_low(facts: TuningFacts, others: tuple[SysctlFile, ...], record: Record | None, open_files: int) -> bool:
    """True when fs.nr_open without us, now or as another file sets it at boot, is below `open_files`."""
    live, at_boot = facts.live.get(NR_OPEN), winner(others, NR_OPEN)
    values = [at_boot.value] if at_boot is not None and at_boot.value else []
    if record is not None:
        values.append(record.value or "0")
    elif isinstance(live, Known):
        values.append(live.value.value)
    return any(value.isdecimal() and int(value) < open_files for value in values)


def _port_range(decided: list[Decision], facts: TuningFacts) -> Interval | None:
    """The range for outgoing connections as it will be; None where nobody can tell."""
    for decision in decided:
        if decision.wanted.key == PORT_RANGE and not decision.is_missing:
            return _interval(decision.value)
    live = facts.live.get(PORT_RANGE)
    return _interval(live.value.value) if isinstance(live, Known) else None


def _interval(text: str) -> Interval | None:
    try:
        found = intervals(text)
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


def reserved_ports(settings: TuningSettings, context: Context, bounds: Interval | None) -> tuple[Interval, ...]:
    """The ports to reserve: those of the roles and of the answers that outgoing connections could take."""
    if bounds is None:
        return ()
    asked: tuple[Interval, ...] = ()
    for entry in settings.reserved_ports:
        asked = union(asked, ports_of(context.roles) if entry == "auto" else intervals(entry))
    return within(asked, bounds)
