"""What pam_limits will give a login: worked out from its files as the module does.

Pure functions over a NodeView. From pam_limits(8), limits.conf(5) and `pam_limits.c` (Linux-PAM 1.5 and 1.7):
limits.conf first, then limits.d/*.conf by name in the C locale; a line for the user beats one for a group, that one
beats `*`; of equal ones the later counts; groups and `*` do not hold for root; what no line names is PID 1's limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.view import NodeView
from bai_wizard.pages.tuning.boot import behind_links

MAIN = "/etc/security/limits.conf"
DIRECTORY = "/etc/security/limits.d"
Sort = Literal["soft", "hard"]
UNLIMITED = ("unlimited", "infinity", "-1")
# Our items in the words of /proc/PID/limits, and what one unit of limits.conf is there (memlock counts in KiB).
KERNEL_WORDS = {
    "nofile": ("Max open files", 1),
    "nproc": ("Max processes", 1),
    "memlock": ("Max locked memory", 1024),
}


@dataclass(frozen=True)
class LimitLine:
    """One line. `sort` is soft, hard or `-` (both); `value` counts in the item's unit, inf for unlimited."""

    path: str
    line: int
    domain: str
    sort: str
    item: str
    value: float
    text: str

    @property
    def place(self) -> str:
        """For people: path and line."""
        return f"{self.path}:{self.line}"


def parse(path: str, text: str) -> tuple[LimitLine, ...]:
    """The limits of a file; lines that pam_limits does not understand are left out."""
    found = []
    for number, raw in enumerate(text.split("\n"), start=1):
        words = raw.partition("#")[0].split()
        if len(words) != 4 or words[1] not in ("soft", "hard", "-"):
            continue
        value = amount(words[3])
        if value is not None:
            found.append(LimitLine(path, number, words[0], words[1], words[2], value, raw))
    return tuple(found)


def amount(word: str) -> float | None:
    """A limit's value; None for what is no number."""
    if word in UNLIMITED:
        return inf
    return float(word) if word.isdecimal() else None


def read_lines(view: NodeView) -> tuple[tuple[LimitLine, ...], tuple[str, ...]]:
    """All limits in the order in which they are read, and the reasons why files could not be read."""
    paths = [MAIN, *(f"{DIRECTORY}/{name}" for name in view.names(DIRECTORY) if _is_read(name))]
    found: list[LimitLine] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            _, entry = behind_links(view, path)
        except CannotTell as error:
            unreadable.append(str(error))
            continue
        if entry is not None and entry.content is not None:
            found += parse(path, entry.content.decode("utf-8", "replace"))
    return tuple(found), tuple(unreadable)


def _is_read(name: str) -> bool:
    return name.endswith(".conf") and not name.startswith(".")


def deciding(
    lines: Iterable[LimitLine], user: str, groups: Collection[str], item: str, sort: Sort
) -> LimitLine | None:
    """The line that decides one limit of a user's login; None where PID 1's holds."""
    chosen: LimitLine | None = None
    rank = 3
    for line in lines:
        if line.item != item or line.sort not in (sort, "-"):
            continue
        mine = _rank(line.domain, user, groups)
        if mine is not None and mine <= rank:
            chosen, rank = line, mine
    return chosen


def _rank(domain: str, user: str, groups: Collection[str]) -> int | None:
    """How near a line is to the user, 0 the nearest; None where it does not hold for it."""
    if domain == user:
        return 0
    if user == "root":
        return None
    if domain.startswith("@"):
        return 1 if domain[1:] in groups else None
    return 2 if domain == "*" else None


def parse_kernel(text: str | None) -> dict[str, tuple[float, float]]:
    """Soft and hard limits by item, from the text of /proc/PID/limits."""
    found = {}
    for line in (text or "").split("\n"):
        for item, (words, unit) in KERNEL_WORDS.items():
            if line.startswith(words):
                soft, hard = line.removeprefix(words).split()[:2]
                found[item] = (_kernel(soft, unit), _kernel(hard, unit))
    return found


def _kernel(word: str, unit: int) -> float:
    return inf if word == "unlimited" else int(word) // unit


@dataclass(frozen=True)
class LimitDecision:
    """One limit of one user. `before` is what a login gets without our file; `has_line`: ours raises it."""

    user: str
    sort: Sort
    item: str
    wanted: float
    before: float | None
    origin: str = ""

    @property
    def has_line(self) -> bool:
        """True when our file has to set it: nothing that is effective already is ever lowered."""
        return self.before is None or self.before < self.wanted

    @property
    def value(self) -> float:
        """What a login gets with our file."""
        return self.wanted if self.has_line else self.before or self.wanted


def decide(
    wanted: Mapping[str, float],
    users: Mapping[str, Collection[str]],
    others: Iterable[LimitLine],
    inherited: Mapping[str, tuple[float, float]],
) -> tuple[LimitDecision, ...]:
    """The limits of each user (with its groups), given the lines of other files and PID 1's limits."""
    lines = tuple(others)
    found = []
    sorts: tuple[Sort, ...] = ("hard", "soft")
    for user, groups in users.items():
        for item, value in wanted.items():
            for sort in sorts:
                line = deciding(lines, user, groups, item, sort)
                if line is not None:
                    before: float | None = line.value
                else:
                    soft_hard = inherited.get(item)
                    before = soft_hard[0 if sort == "soft" else 1] if soft_hard else None
                found.append(LimitDecision(user, sort, item, value, before, line.path if line else ""))
    return tuple(found)


def shown(value: float) -> str:
    """A limit as limits.conf has it."""
    return "unlimited" if value == inf else str(int(value))
