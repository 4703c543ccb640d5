"""systemd units: their files and drop-ins, their state, and limits of services."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope, above
from bai_wizard.core.parse import whole
from bai_wizard.core.paths import resolved
from bai_wizard.core.state import RELOAD, file_key, restart_key, unit_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.resources.files import MakeDirectory, RemovePath, WriteFile
from bai_wizard.resources.units import ReloadUnits, RestartUnit, SetUnit

DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)


class UnitSetting(Struct, frozen=True):
    """One assignment in a unit file or drop-in."""

    path: str
    value: str


def unit_file(view: NodeView, unit: str) -> str | None:
    """Return the unit's own file; None if the node has none."""
    for directory in DIRECTORIES:
        if view.entry(f"{directory}/{unit}") is not None:
            return f"{directory}/{unit}"
    return None


def drop_ins(view: NodeView, unit: str) -> tuple[str, ...]:
    """Return the unit's drop-ins in reading order; for duplicate names the first directory wins."""
    kind = unit.rpartition(".")[2]
    chosen: dict[str, str] = {}
    parts = unit.rpartition(".")[0].split("-")
    shortened = ("-".join(parts[:count]) + f"-.{kind}" for count in range(len(parts) - 1, 0, -1))
    for owner in (unit, *shortened, kind):
        chosen = {**_drop_ins_in(view, [f"{directory}/{owner}.d" for directory in DIRECTORIES]), **chosen}
    return tuple(chosen[name] for name in sorted(chosen, key=os.fsencode))


def _drop_ins_in(view: NodeView, directories: Iterable[str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for directory in directories:
        for name in view.names(directory):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{directory}/{name}")
    return chosen


def unit_settings(view: NodeView, unit: str, section: str, name: str) -> tuple[UnitSetting, ...]:
    """Return every assignment of one setting in reading order: the last one wins."""
    own = unit_file(view, unit)
    return _settings(view, (*((own,) if own else ()), *drop_ins(view, unit)), section, name)


def manager_settings(view: NodeView, name: str) -> tuple[UnitSetting, ...]:
    """Return every assignment of one setting of systemd itself (systemd-system.conf(5)) in reading order."""
    files = [f"{directory.removesuffix('/system')}/system.conf" for directory in DIRECTORIES]
    own = [path for path in files if view.entry(path) is not None][:1]
    more = _drop_ins_in(view, [f"{path}.d" for path in files])
    return _settings(view, (*own, *(more[each] for each in sorted(more, key=os.fsencode))), "Manager", name)


def _settings(view: NodeView, paths: Iterable[str], section: str, name: str) -> tuple[UnitSetting, ...]:
    result = []
    for path in paths:
        try:
            entry = view.entry(resolved(view, path))
        except StepBlocked:
            continue  # an endless link
        content = entry.content if entry is not None else None
        result += [UnitSetting(path, value) for value in assignments(content or b"", section, name)]
    return tuple(result)


_BLANKS = " \t\n\r"
_BOM = "\ufeff"
# Each of the three ends a line, and different ones in a row end it only once (systemd, src/basic/fileio.c).
_END_OF_LINE = re.compile("\r\n?\0?|\n\r?\0?|\0")


def assignments(content: bytes, section: str, name: str) -> list[str]:
    """Return the values of one setting in a file, in order, as systemd reads them (src/shared/conf-parser.c)."""
    here = ""
    result = []
    for line in _lines(content.decode("utf-8", "surrogateescape")):
        if any("\udc80" <= letter <= "\udcff" for letter in line) or (line.startswith("[") and line[-1] != "]"):
            break  # systemd reads no further
        if line.startswith("["):
            here = line[1:-1]
        elif here == section:
            key, equals, value = line.partition("=")
            if equals and key.strip(_BLANKS) == name:
                result.append(value.strip(_BLANKS))
    return result


def _lines(text: str) -> Iterator[str]:
    """Yield the effective lines: without comments and empty lines, and with backslash continuations joined."""
    held, mark = "", _BOM
    for line in _END_OF_LINE.split(text):
        if line.lstrip(_BLANKS).startswith(("#", ";")):
            continue
        if mark and line.startswith(mark):  # The first one is skipped, in whatever line it is.
            line, mark = line.removeprefix(mark), ""
        held += line
        backslashes = len(held) - len(held.rstrip("\\"))
        if backslashes % 2:
            held = held[:-1] + " "
            continue
        if held.strip(_BLANKS):
            yield held.strip(_BLANKS)
        held = ""
    if held.strip(_BLANKS):
        yield held.strip(_BLANKS)


class Service(Step, frozen=True, kw_only=True):
    """Bring a unit to its desired state by comparing states, never by remembering what was just changed.

    `reads` are files that the running service must not be older than: if a failure prevents a restart, the next plan
    detects it. `if_running` leaves a unit alone that is stopped or missing.
    """

    kind: ClassVar[str] = "service"
    unit: str
    enabled: bool | None = True
    active: bool | None = True
    reads: tuple[str, ...] = ()
    if_running: bool = False

    def describe(self) -> str:
        if self.reads:
            return f"restart {self.unit} to load its new configuration"
        return f"{'disable' if self.enabled is False else 'start' if self.active else 'enable'} {self.unit}"

    def scope(self) -> tuple[Scope, ...]:
        return (unit_key(self.unit), restart_key(self.unit), RELOAD)

    def note(self, view: NodeView) -> Unchanged:
        if self.if_running and view.unit(self.unit) is None:
            return Unchanged(f"{self.unit} does not exist on this node", skipped=True)
        return Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        unit = view.unit(self.unit)
        if self.if_running and (unit is None or unit.active != "active"):
            return
        if unit is None:
            raise StepBlocked(f"{self.unit} does not exist on this node")
        if unit.enabled.startswith("masked") and (self.enabled or self.active):
            raise StepBlocked(
                f"{self.unit} is masked, so it cannot be started. If that is no longer intended, run `systemctl"
                f" unmask {self.unit}`, then try again"
            )
        stale = [path for path in self.reads if view.newer(path, unit.since)]
        own = [path for path in self.reads if path.startswith("/etc/systemd/") and view.entry(path) is not None]
        if any(path in own for path in stale):
            yield ReloadUnits(f"{', '.join(stale)} changed")
        elif unit.needs_reload:
            yield ReloadUnits(f"the unit files of {self.unit} changed")
        yield SetUnit(self.unit, self.enabled, None)
        if stale and unit.active == "active":
            yield RestartUnit(self.unit, f"{', '.join(stale)} is newer than the running service")
        elif own and unit.needs_reload and unit.active == "active":
            yield RestartUnit(self.unit, f"it was started before systemd read {', '.join(own)}")
        yield SetUnit(self.unit, None, self.active)


SECTION = "Service"
NAME = "50-bai-wizard-limits.conf"
# systemd's defaults for services (system.conf: DefaultLimitNOFILE=1024:524288, DefaultLimitMEMLOCK=8M).
DEFAULTS = {"LimitNOFILE": (1024.0, 524288.0), "LimitMEMLOCK": (8.0 * 2**20, 8.0 * 2**20)}
# Directives whose values are sizes; the others are counts.
SIZES = ("FSIZE", "DATA", "STACK", "CORE", "RSS", "AS", "MEMLOCK", "MSGQUEUE")

Pair = tuple[float, float]


class ServiceLimit(Struct, frozen=True):
    """One directive with the desired soft and hard limit; -1 means infinity, which JSON cannot represent."""

    directive: str
    value: int


class ServiceLimits(Step, frozen=True, kw_only=True):
    """Raise limits of `unit` without lowering any that is already configured.

    `expected`: an earlier page installs the service, so the drop-in is written although the unit does not exist yet.
    `processes` is the limit of a service without LimitNPROC=.
    """

    kind: ClassVar[str] = "service-limits"
    unit: str
    limits: tuple[ServiceLimit, ...]
    expected: bool = False
    processes: int = 0

    @property
    def path(self) -> str:
        """The path of our drop-in."""
        return f"/etc/systemd/system/{self.unit}.d/{NAME}"

    def describe(self) -> str:
        message = ", ".join(f"{limit.directive}={_shown(_number(limit))}" for limit in self.limits)
        return f"{self.unit}: raise limits to at least {message}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), *above(self.path))

    def note(self, view: NodeView) -> Unchanged:
        if unit_file(view, self.unit) is None and not self.expected:
            return Unchanged(f"{self.unit} does not exist on this node", skipped=True)
        return Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if unit_file(view, self.unit) is None and not self.expected:
            return
        lines = [line for limit in self.limits if (line := self._line(view, limit))]
        if not lines:
            yield RemovePath(self.path)
            return
        directory = f"/etc/systemd/system/{self.unit}.d"
        existing = view.entry(directory)
        if existing is None:
            yield MakeDirectory(directory)
        elif existing.type != "directory":
            raise StepBlocked(f"{directory} is a {existing.type}, not a directory")
        text = "\n".join(["# Written by bai-wizard.", f"[{SECTION}]", *lines, ""])
        yield WriteFile(self.path, text.encode())

    def _line(self, view: NodeView, limit: ServiceLimit) -> str:
        """Return our assignment; empty if the configuration without it suffices."""
        others = [item for item in unit_settings(view, self.unit, SECTION, limit.directive) if item.path != self.path]
        wanted = _number(limit)
        present = self._pair(view, limit.directive, others)
        if min(present) >= wanted:
            return ""
        later = [
            item for item in others if os.fsencode(item.path.rpartition("/")[2]) > NAME.encode() and _is_drop_in(item)
        ]
        if later:
            raise StepBlocked(
                f"{later[-1].path} sets {limit.directive}={later[-1].value} in a later drop-in, which overrides"
                f" ours; raise it there to {_shown(wanted)}, or remove the line"
            )
        soft, hard = (max(wanted, value) for value in present)
        return f"{limit.directive}={_shown(soft) if soft == hard else f'{_shown(soft)}:{_shown(hard)}'}"

    def _pair(self, view: NodeView, directive: str, others: Sequence[UnitSetting]) -> Pair:
        """Return the soft and hard limit without our drop-in; an unknown limit counts as 0."""
        pair = limit_of(directive, (item.value for item in others))
        if pair is None and directive == "LimitNPROC":
            return float(self.processes), float(self.processes)
        return pair or default_limit(view, directive)


class RestartForLimits(Service, frozen=True, kw_only=True):
    """Restart the service if it is older than our drop-in; without a drop-in systemd is not queried at all."""

    kind: ClassVar[str] = "restart-for-limits"

    def note(self, view: NodeView) -> Unchanged:
        return super().note(view) if self._is_due(view) else Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self._is_due(view):
            yield from super().operations(view)

    def _is_due(self, view: NodeView) -> bool:
        return any(view.entry(path) is not None for path in self.reads)


def _is_drop_in(item: UnitSetting) -> bool:
    return item.path.rpartition("/")[0].endswith(".d")


def limit_of(directive: str, values: Iterable[str]) -> Pair | None:
    """Return the limit that the last valid assignment sets, or None. systemd ignores invalid ones."""
    parsed = [_parse_limit(directive, value) for value in values]
    return next((pair for pair in reversed(parsed) if pair is not None), None)


def _parse_limit(directive: str, text: str) -> Pair | None:
    """Parse `N` or `soft:hard` (src/basic/rlimit-util.c); None for values that systemd rejects."""
    amount = _size if directive.endswith(SIZES) else _count
    soft, colon, hard = text.partition(":")
    soft, hard = (re.sub(r"\\(.)", r"\1", word) for word in (soft, hard if colon else soft))
    pair = (amount(soft), amount(hard))
    return None if pair[0] is None or pair[1] is None or pair[0] > pair[1] else (pair[0], pair[1])


# As strtoull of glibc 2.38 reads a number without a given base; systemd itself knows the prefix 0o, before which it
# skips fewer blanks. Older versions know 0b only where systemd does. Longer numbers count as invalid.
_COUNT = re.compile(
    r"[ \t\n\r\v\f]*(?P<sign>[+-]?)"
    r"(?P<digits>0[xX][0-9a-fA-F]{1,38}|0[bB][01]{1,38}|0[0-7]{0,38}|[1-9]\d{0,38})"
    r"|[ \t\n\r]*(?P<prefixed>0[oO][0-7]{1,38})",
    re.ASCII,
)
_BASES = {"0x": 16, "0b": 2, "0o": 8}


def _count(word: str) -> float | None:
    if word == "infinity":
        return inf
    found = _COUNT.fullmatch(word)
    if found is None:
        return None
    digits = found["digits"] or found["prefixed"]
    number = whole(digits, _BASES.get(digits[:2].lower(), 8 if digits.startswith("0") else 10))
    is_negative = number > 0 and found["sign"] == "-"
    return None if is_negative or number >= 2**64 - 1 else number


_UNITS = "EPTGMKB"
_SIZE = re.compile(
    r"[ \t\n\r\v\f]*\+?(?P<whole>\d{1,38})(?:\.(?P<part>\d{0,38}))?[ \t\n\r]*(?P<unit>[EPTGMKB]?)", re.ASCII
)


def _size(word: str) -> float | None:
    """Parse parts such as `1G 512M`, in the order of decreasing units."""
    if word == "infinity":
        return inf
    total, at, units = 0, 0, _UNITS
    while at < len(word) or not at:
        found = _SIZE.match(word, at)
        if found is None or found["unit"] not in units:
            return None
        unit, part = found["unit"] or "B", found["part"] or "0"
        factor = 1024 ** (len(_UNITS) - 1 - _UNITS.index(unit))
        total += whole(found["whole"]) * factor + whole(part) * factor // 10 ** len(part)
        units = units.partition(unit)[2] if found["unit"] else ""
        at = found.end()
    return total if total < 2**64 - 1 else None


def default_limit(view: NodeView, directive: str) -> Pair:
    """Return the limit of services without the directive; an unknown one is 0."""
    values = (each.value for each in manager_settings(view, f"Default{directive}"))
    return limit_of(directive, values) or DEFAULTS.get(directive, (0.0, 0.0))


def _number(limit: ServiceLimit) -> float:
    return inf if limit.value < 0 else float(limit.value)


def _shown(value: float) -> str:
    return "infinity" if value == inf else str(whole(value))
