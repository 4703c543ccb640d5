"""systemd units: their files and drop-ins, their state, and limits of services."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import inf
from typing import ClassVar

from msgspec import Struct

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope, above
from bai_wizard.core.parse import whole
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
        for directory in DIRECTORIES:
            for name in view.names(f"{directory}/{owner}.d"):
                if name.endswith(".conf"):
                    chosen.setdefault(name, f"{directory}/{owner}.d/{name}")
    return tuple(chosen[name] for name in sorted(chosen, key=os.fsencode))


def unit_settings(view: NodeView, unit: str, section: str, name: str) -> tuple[UnitSetting, ...]:
    """Return every assignment of one setting in reading order: the last one wins."""
    own = unit_file(view, unit)
    result = []
    for path in (*((own,) if own else ()), *drop_ins(view, unit)):
        entry = view.entry(path)
        if entry is not None and entry.type == "link":
            # An alias or a mask; its target is read under its own name, or is nothing.
            continue
        text = entry.content.decode("utf-8", "replace") if entry is not None and entry.content else ""
        result += [UnitSetting(path, value) for value in _values(text, section, name)]
    return tuple(result)


def _values(text: str, section: str, name: str) -> list[str]:
    here = ""
    result = []
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1]
        elif here == section:
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                result.append(value.strip())
    return result


def _lines(text: str) -> Iterator[str]:
    """Yield the effective lines: without comments, and with backslash continuations joined."""
    held = ""
    for line in text.split("\n"):
        if line.strip().startswith(("#", ";")):
            continue
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        yield held
        held = ""
    yield held


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
        if any(path.startswith("/etc/systemd/") for path in stale):
            yield ReloadUnits(f"{', '.join(stale)} changed")
        yield SetUnit(self.unit, self.enabled, None)
        if stale and unit.active == "active":
            yield RestartUnit(self.unit, f"{', '.join(stale)} is newer than the running service")
        yield SetUnit(self.unit, None, self.active)


SECTION = "Service"
NAME = "50-bai-wizard-limits.conf"
# systemd's defaults for services (system.conf: DefaultLimitNOFILE=1024:524288, DefaultLimitMEMLOCK=8M).
DEFAULTS = {"LimitNOFILE": (1024.0, 524288.0), "LimitMEMLOCK": (8.0 * 2**20, 8.0 * 2**20)}
_SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

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
        present = self._pair(limit.directive, others)
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

    def _pair(self, directive: str, others: list[UnitSetting]) -> Pair:
        """Return the soft and hard limit without our drop-in; an unknown limit counts as 0."""
        for item in reversed(others):
            pair = parse_limit(item.value)
            if pair is not None:
                return pair
        if directive == "LimitNPROC":
            return float(self.processes), float(self.processes)
        return DEFAULTS.get(directive, (0.0, 0.0))


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


def parse_limit(text: str) -> Pair | None:
    """Parse `N`, `soft:hard`, `infinity`, with K, M, G; None for values that systemd would reject too."""
    soft, colon, hard = text.partition(":")
    pair = (_amount(soft), _amount(hard if colon else soft))
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _amount(word: str) -> float | None:
    if word == "infinity":
        return inf
    factor = _SUFFIXES.get(word[-1:], 1)
    number = word[:-1] if factor > 1 else word
    return float(whole(number) * factor) if number.isdecimal() else None


def _number(limit: ServiceLimit) -> float:
    return inf if limit.value < 0 else float(limit.value)


def _shown(value: float) -> str:
    return "infinity" if value == inf else str(whole(value))
