"""Login limits: the decision for each, the wizard's limits file, and what systemd passes on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.parse import comment, limits_line, whole
from bai_wizard.core.step import Interrupt
from bai_wizard.pages.tuning.files import (
    OwnFile,
    RecordedLimit,
    line_of,
    lines_of_others,
    own_file_text,
    recorded_limits,
)
from bai_wizard.pages.tuning.pam_limits import (
    KERNEL_WORDS,
    LimitLine,
    LimitType,
    Login,
    Pair,
    parse_kernel,
    parse_limits,
    session,
)
from bai_wizard.steps.services import RestartForLimits, ServiceLimits, default_limit


class SessionLimit(Struct, frozen=True):
    """A limit that a session of `user` must have at least; `least` as in limits.conf."""

    user: str
    sort: LimitType
    item: str
    least: str

    @property
    def name(self) -> str:
        """The limit as in limits.conf: `bai soft nofile`."""
        return f"{self.user} {self.sort} {self.item}"


class LimitDecision(Struct, frozen=True):
    """One limit of one user. `before` is what a login gets without our file; `has_line`: our file raises it."""

    user: str
    sort: LimitType
    item: str
    wanted: float
    before: float | None
    origin: str = ""

    @property
    def has_line(self) -> bool:
        """Whether our file has to set it: nothing already effective is ever lowered."""
        return self.before is None or self.before < self.wanted

    @property
    def value(self) -> float:
        """The limit of a login with our file."""
        return self.wanted if self.has_line else self.before or self.wanted


def decide_limit(
    wanted: Mapping[str, float],
    logins: Iterable[Login],
    others: Iterable[LimitLine],
    inherited: Mapping[str, Pair],
    nr_open: float = inf,
) -> tuple[LimitDecision, ...]:
    """Decide on the limits of each login, given the lines of other files and the limits that no file sets."""
    lines = tuple(others)
    result = []
    sorts: tuple[LimitType, ...] = ("hard", "soft")
    for login in logins:
        given = session(lines, login)
        for item, value in wanted.items():
            refused = item == "nofile" and given.refused(nr_open) is not None
            for sort in sorts:
                line = given.lines.get((item, sort))
                before = given.limit(item, sort, inherited, nr_open)
                if refused:  # Only our lines give the session any limit, and none below the inherited one.
                    result.append(LimitDecision(login.name, sort, item, max(value, before or 0), None))
                    continue
                result.append(LimitDecision(login.name, sort, item, value, before, line.path if line else ""))
    return tuple(result)


def shown(value: float) -> str:
    """Format a limit as in limits.conf."""
    return "unlimited" if value == inf else str(whole(value))


LIMITS_PATH = "/etc/security/limits.d/99-backendai.conf"
OTHER_LIMITS_PATH = "/etc/security/limits.d/99-backend-ai.conf"


def limits_text(decisions: Sequence[LimitDecision], result: OwnFile) -> str:
    """Return the file's text in the manual's order: user by user, hard before soft."""
    head = (
        "(login limits). The next run reverts changes to this part.",
        '"kept" marks limits that are higher without this file. Services have their own drop-ins.',
    )
    # The kernel's defaults vary slightly per boot, which needs no rewrite.
    recorded = {
        f"{entry.user} {entry.sort} {entry.item}": entry.before
        for _, entry in recorded_limits(result.upper)
        if not entry.origin
    }
    body: list[str] = [""]
    for decision in decisions:
        name = f"{decision.user} {decision.sort} {decision.item}"
        if decision.has_line or decision.before is None:
            body.append(limits_line(decision.user, decision.sort, decision.item, shown(decision.wanted)))
            continue
        kept, wanted = shown(decision.before), shown(decision.wanted)
        origin = f" of {decision.origin}" if decision.origin else ""
        if not origin:
            kept = recorded.get(name, kept)
        body.append(f"# {comment(f'{name}: kept {kept}{origin} (wanted: {wanted})')}")
        body.append(
            line_of(RecordedLimit(decision.user, decision.sort, decision.item, kept, decision.origin, wanted))
        )
    managed = {(decision.user, decision.item) for decision in decisions}
    others = lines_of_others(result, _is_limit, lambda line: _subject(line) in managed)
    return own_file_text(head, body, others)


def session_limits(
    decisions: Iterable[LimitDecision],
    lines: Iterable[LimitLine],
    logins: Iterable[Login],
    inherited: Mapping[str, Pair],
    nr_open: float,
) -> tuple[SessionLimit, ...]:
    """Return what sessions must have once our file is written; less where the plan reports that another line wins."""
    all_lines = tuple(lines)
    given = {login.name: session(all_lines, login) for login in logins}
    result = []
    for each in decisions:
        foreseen = given[each.user].limit(each.item, each.sort, inherited, nr_open)
        least = each.wanted if foreseen is None else min(each.wanted, foreseen)
        result.append(SessionLimit(each.user, each.sort, each.item, shown(least)))
    return tuple(result)


def _is_limit(line: str) -> bool:
    return bool(parse_limits(LIMITS_PATH, line))


def _subject(line: str) -> tuple[str, str]:
    limit = parse_limits(LIMITS_PATH, line)[0]
    return limit.domain, limit.item


def with_our_limits(lines: Iterable[LimitLine], text: str) -> tuple[LimitLine, ...]:
    """Return the lines of all files with our text in place."""
    all_lines = (*without_our_limits(lines), *parse_limits(LIMITS_PATH, text))
    return tuple(sorted(all_lines, key=lambda line: _order(line.path)))


def without_our_limits(lines: Iterable[LimitLine]) -> tuple[LimitLine, ...]:
    """Return the lines of other files."""
    return tuple(line for line in lines if line.path != LIMITS_PATH)


def _order(path: str) -> tuple[int, bytes]:
    """Sort key: limits.conf first, then limits.d by name."""
    return (1 if "/limits.d/" in path else 0, os.fsencode(path.rpartition("/")[2]))


def limit_overrides(
    lines: Iterable[LimitLine], decisions: Iterable[LimitDecision], logins: Iterable[Login], nr_open: float = inf
) -> tuple[LimitLine, ...]:
    """Return lines of other files that override ours with a lower value, or one that the kernel refuses.

    `lines` include ours; `nr_open` is the value of fs.nr_open with our parameters.
    """
    all_lines = tuple(lines)
    given = {login.name: session(all_lines, login) for login in logins}
    result: dict[LimitLine, None] = {}
    for decision in decisions:
        found = given[decision.user]
        if found.exempt is not None:
            result[found.exempt] = None
        line = found.lines.get((decision.item, decision.sort))
        refused = found.refused(nr_open) if decision.item == "nofile" else None
        for each in (line if line is not None and line.value < decision.wanted else None, refused):
            if each is not None and each.path != LIMITS_PATH:
                result[each] = None
    return tuple(result)


# Limits of a login that no limits file sets: not PID 1's own, but those that systemd sets for sshd.
#
# systemd raises its own open files to the kernel's maximum and passes 1024:524288 to every service (systemd-
# system.conf(5), DefaultLimitNOFILE; seen on Debian 13). Some versions of pam_limits start from PID 1 instead, so
# only the lower of the two is certain.


def inherited(machine: Machine) -> dict[str, Pair]:
    """Return soft and hard limits by item; nothing if the kernel does not show those of PID 1."""
    try:
        result = parse_kernel(machine.kernel_text("/proc/1/limits"))
    except StateUnknown:
        return {}
    if "nofile" in result:
        soft, hard = default_limit(machine, "LimitNOFILE")
        result["nofile"] = (min(result["nofile"][0], soft), min(result["nofile"][1], hard))
    return result


class Ungranted(Struct, frozen=True):
    """A hard limit that logins cannot get. `most` is what they get instead; both in the unit of limits.conf."""

    item: str
    wanted: float
    most: float

    def tell(self) -> str:
        """Return a description without a full stop."""
        return f"the hard limit {self.item} for logins remains {shown(self.most)} instead of {shown(self.wanted)}"


def hard_limits(limits: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Return the highest hard limit by item, from limits given as (sort, item, value)."""
    result: dict[str, float] = {}
    for kind, item, value in limits:
        if kind == "hard" and item in KERNEL_WORDS:
            result[item] = max(value, result.get(item, 0))
    return result


def ungranted(machine: Machine, wanted: Mapping[str, float]) -> tuple[Ungranted, ...]:
    """Return the hard limits, by item, that root on this node cannot grant to a login.

    A child process lowers its own limit to the one that logins inherit and tries to raise it again, which needs
    CAP_SYS_RESOURCE on the host. Returns nothing unless run as root. Raises StateUnknown if this cannot be tested.
    """
    result = []
    lower = inherited(machine)
    nr_open = machine.sysctl("fs.nr_open")
    for item, value in wanted.items():
        least = lower[item][1] if item in lower else inf
        tried = value
        if item == "nofile" and nr_open is not None:
            tried = min(value, whole(nr_open.value))
        if least >= tried or not machine.is_root:
            continue
        raised = (
            "prlimit",
            prlimit_option(item, least, least),
            "prlimit",
            prlimit_option(item, tried, tried),
            "true",
        )
        if machine.query(raised).code != 0:
            result.append(Ungranted(item, value, least))
    return tuple(result)


def prlimit_option(item: str, soft: float, hard: float) -> str:
    """Return an option of prlimit(1) that sets both limits of an item, given in the unit of limits.conf."""
    unit = KERNEL_WORDS[item][1]
    amounts = ("unlimited" if value == inf else str(whole(value) * unit) for value in (soft, hard))
    return f"--{item}={':'.join(amounts)}"


def restart_for(name: str, limits: ServiceLimits, interrupts: tuple[Interrupt, ...]) -> RestartForLimits:
    """Return the step that restarts a service, if it is running, to apply its limits."""
    return RestartForLimits(
        id=f"tuning.restart.{name}",
        unit=limits.unit,
        enabled=None,
        active=None,
        reads=(limits.path,),
        if_running=True,
        interrupts=interrupts,
    )
