"""A systemd unit that is to be enabled, running, and to have read its newest files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive, ReloadUnits, RestartUnit, SetUnit
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class Service(Step):
    """Brings a unit into its state by looking at levels, never at «has just been changed».

    `reads` are files the running service must not be older than: a restart that was lost to a failure is seen
    again by the next plan. `if_running` leaves a unit alone that is stopped or not there.
    """

    kind: ClassVar[str] = "service"
    unit: str
    enabled: bool | None = True
    active: bool | None = True
    reads: tuple[str, ...] = ()
    if_running: bool = False

    def describe(self) -> str:
        return f"{self.unit} runs with its files as they are now" if self.reads else f"{self.unit} runs"

    def scope(self) -> tuple[str, ...]:
        return (f"unit:{self.unit}", f"restart:{self.unit}", "restart:systemd")

    def note(self, view: NodeView) -> Unchanged:
        if self.if_running and view.unit(self.unit) is None:
            return Unchanged(f"{self.unit} is not on this node", skipped=True)
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        unit = view.unit(self.unit)
        if self.if_running and (unit is None or unit.active != "active"):
            return
        if unit is None:
            raise StepBlocked(f"there is no unit {self.unit} on this node")
        if unit.enabled.startswith("masked") and (self.enabled or self.active):
            raise StepBlocked(
                f"{self.unit} is masked: somebody wants that nothing starts it. If that is over, «systemctl unmask"
                f" {self.unit}», then repeat"
            )
        stale = [path for path in self.reads if view.newer(path, unit.since)]
        if any(path.startswith("/etc/systemd/") for path in stale):
            yield ReloadUnits(f"{', '.join(stale)} changed")
        yield SetUnit(self.unit, self.enabled, None)
        if stale and unit.active == "active":
            yield RestartUnit(self.unit, f"{', '.join(stale)} is newer than the running service")
        yield SetUnit(self.unit, None, self.active)
