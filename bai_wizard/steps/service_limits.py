"""Limits of a systemd service, as a drop-in: limits of logins do not reach services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import MakeDirectory, Primitive, RemovePath, WriteFile
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.service import Service
from bai_wizard.steps.unit_files import UnitSetting, settings, unit_file

SECTION = "Service"
NAME = "50-bai-wizard-limits.conf"
# systemd's own defaults for services (system.conf: DefaultLimitNOFILE=1024:524288, DefaultLimitMEMLOCK=8M).
DEFAULTS = {"LimitNOFILE": (1024.0, 524288.0), "LimitMEMLOCK": (8.0 * 2**20, 8.0 * 2**20)}
_SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

Pair = tuple[float, float]


@dataclass(frozen=True)
class ServiceLimit:
    """One directive with the wanted value for soft and hard; -1 means infinity (JSON has no word for it)."""

    directive: str
    value: int


@register
@dataclass(frozen=True, kw_only=True)
class ServiceLimits(Step):
    """Raises limits of `unit` and never lowers one that is configured already.

    `expected`: an earlier page brings the service, so the drop-in is written although the unit is not there yet.
    `processes` is what a service gets without LimitNPROC=.
    """

    kind: ClassVar[str] = "service-limits"
    unit: str
    limits: tuple[ServiceLimit, ...]
    expected: bool = False
    processes: int = 0

    @property
    def path(self) -> str:
        """Our drop-in."""
        return f"/etc/systemd/system/{self.unit}.d/{NAME}"

    def describe(self) -> str:
        told = ", ".join(f"{limit.directive}={_shown(_number(limit))}" for limit in self.limits)
        return f"{self.unit}: at least {told}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:/etc/systemd/system/{self.unit}.d",)

    def note(self, view: NodeView) -> Unchanged:
        if unit_file(view, self.unit) is None and not self.expected:
            return Unchanged(f"{self.unit} is not on this node", skipped=True)
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if unit_file(view, self.unit) is None and not self.expected:
            return
        lines = [line for limit in self.limits if (line := self._line(view, limit))]
        if not lines:
            yield RemovePath(self.path)
            return
        directory = f"/etc/systemd/system/{self.unit}.d"
        there = view.entry(directory)
        if there is None:
            yield MakeDirectory(directory)
        elif there.type != "directory":
            raise StepBlocked(f"{directory} is a {there.type}, not a directory")
        text = "\n".join(["# Written by bai-wizard.", f"[{SECTION}]", *lines, ""])
        yield WriteFile(self.path, text.encode())

    def _line(self, view: NodeView, limit: ServiceLimit) -> str:
        """Our assignment; empty where what is configured without us is enough."""
        others = [item for item in settings(view, self.unit, SECTION, limit.directive) if item.path != self.path]
        wanted = _number(limit)
        present = self._pair(limit.directive, others)
        if min(present) >= wanted:
            return ""
        later = [
            item for item in others if item.path.rpartition("/")[2].encode() > NAME.encode() and _is_drop_in(item)
        ]
        if later:
            raise StepBlocked(
                f"{later[-1].path} sets {limit.directive}={later[-1].value} after our drop-in and wins; raise it"
                f" there to {_shown(wanted)}, or remove the line"
            )
        soft, hard = (max(wanted, value) for value in present)
        return f"{limit.directive}={_shown(soft) if soft == hard else f'{_shown(soft)}:{_shown(hard)}'}"

    def _pair(self, directive: str, others: list[UnitSetting]) -> Pair:
        """Soft and hard limit without us; what nobody can tell counts as nothing."""
        for item in reversed(others):
            pair = parse_limit(item.value)
            if pair is not None:
                return pair
        if directive == "LimitNPROC":
            return float(self.processes), float(self.processes)
        return DEFAULTS.get(directive, (0.0, 0.0))


@register
@dataclass(frozen=True, kw_only=True)
class RestartForLimits(Service):
    """Restarts the service when it is older than our drop-in; without a drop-in systemd is not even asked."""

    kind: ClassVar[str] = "restart-for-limits"

    def note(self, view: NodeView) -> Unchanged:
        return super().note(view) if self._is_due(view) else Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self._is_due(view):
            yield from super().primitives(view)

    def _is_due(self, view: NodeView) -> bool:
        return any(view.entry(path) is not None for path in self.reads)


def _is_drop_in(item: UnitSetting) -> bool:
    return item.path.rpartition("/")[0].endswith(".d")


def parse_limit(text: str) -> Pair | None:
    """`N`, `soft:hard`, `infinity`, with K, M, G; None for what systemd would not take either."""
    soft, colon, hard = text.partition(":")
    pair = (_amount(soft), _amount(hard if colon else soft))
    return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _amount(word: str) -> float | None:
    if word == "infinity":
        return inf
    factor = _SUFFIXES.get(word[-1:], 1)
    number = word[:-1] if factor > 1 else word
    return float(int(number) * factor) if number.isdecimal() else None


def _number(limit: ServiceLimit) -> float:
    return inf if limit.value < 0 else float(limit.value)


def _shown(value: float) -> str:
    return "infinity" if value == inf else str(int(value))
