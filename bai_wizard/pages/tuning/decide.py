"""Decides for each kernel parameter: set it, or keep what the node has because that is at least as good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bai_wizard.core.facts import Absent, Fact, Known
from bai_wizard.core.state import Sysctl
from bai_wizard.pages.tuning.boot import Assignment
from bai_wizard.pages.tuning.wanted import Wanted, dotted
from bai_wizard.steps.better import at_least_as_good, good_for_both, normal

# What stands in a comment for an empty value, and for one that nobody could tell.
NOTHING = "nothing"
UNKNOWN = "unknown"
_RECORD = re.compile(
    r"# (?P<key>[\w./:@-]+): (?:kept|was) (?P<value>.*?)(?: of (?P<origin>/\S+))? \((?P<source>[\w-]+): .*\)$"
)


@dataclass(frozen=True)
class Record:
    """The value before we came, as our file's comment has it; `origin` is the file that gave it, empty for none."""

    value: str | None
    origin: str = ""


@dataclass(frozen=True)
class Decision:
    """`value` is what holds at the next boot. `before` is the value without us, None where nobody can tell.

    `is_kept`: the value is the node's own, better one. `has_line`: our file assigns it; where not, the kernel's
    default or the file `origin` gives it. `is_missing`: this kernel does not have the parameter.
    """

    wanted: Wanted
    value: str
    before: str | None = None
    origin: str = ""
    is_kept: bool = False
    has_line: bool = True
    is_missing: bool = False

    def comment(self) -> str:
        """What became of the value: `net.core.somaxconn: kept 4096 (manual: 1024)`."""
        against = f"({self.wanted.source}: {self.wanted.printed or self.wanted.value})"
        if self.is_missing:
            return f"{self.wanted.key}: this kernel does not have it {against}"
        before = UNKNOWN if self.before is None else self.before or NOTHING
        origin = f" of {self.origin}" if self.origin else ""
        return f"{self.wanted.key}: {'kept' if self.is_kept else 'was'} {before}{origin} {against}"


def records(lines: Iterable[str]) -> dict[str, Record]:
    """What the comments of our file remember, by key."""
    found = {}
    for line in lines:
        match = _RECORD.match(line)
        if match:
            value = {NOTHING: "", UNKNOWN: None}.get(match["value"], match["value"])
            found[dotted(match["key"])] = Record(value, match["origin"] or "")
    return found


def decide(
    wanted: Wanted, live: Fact[Sysctl], other: Assignment | None, record: Record | None, *, loadable: bool = False
) -> Decision:
    """`other` is what decides the parameter at the next boot without our file; `loadable` lets its module be loaded.

    The value before us is what our file remembers of it, or the live one as long as our file says nothing. What a
    file that is gone by now had given is no such value.
    """
    if isinstance(live, Absent) and not (wanted.module and loadable):
        return Decision(wanted, wanted.value, is_missing=True, has_line=False)
    theirs = None if other is None or other.value is None or other.is_quoted else normal(other.value)
    if (
        theirs is not None
        and theirs != normal(wanted.value)
        and at_least_as_good(wanted.better, theirs, wanted.value)
    ):
        origin = other.path if other is not None else ""
        return Decision(wanted, theirs, theirs, origin, is_kept=True, has_line=False)
    before = _before(live, record)
    value = normal(wanted.value) if before is None else good_for_both(wanted.better, wanted.value, before)
    if theirs is not None:
        value = good_for_both(wanted.better, value, theirs)
    is_kept = before is not None and value == before and value != normal(wanted.value)
    # Only a value that the kernel takes by itself at every boot, and that no file touches, needs no line.
    has_line = not (is_kept and other is None and value in wanted.kernel)
    return Decision(wanted, value, before, "", is_kept, has_line)


def _before(live: Fact[Sysctl], record: Record | None) -> str | None:
    if record is not None:
        return None if record.origin else record.value
    return normal(live.value.value) if isinstance(live, Known) else None
