"""systemd units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import unit_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome
from bai_wizard.core.state import UNPREDICTABLE, Key, State, States, Unit, Unpredictable


@dataclass(frozen=True)
class SetUnit(BasePrimitive):
    """Enables or disables, starts or stops a unit; None leaves that side as it is."""

    kind: ClassVar[str] = "set-unit"
    unit: str
    enabled: bool | None = None
    active: bool | None = None

    def keys(self) -> tuple[Key, ...]:
        return (unit_key(self.unit),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if not isinstance(old, Unit):
            return {self.keys()[0]: UNPREDICTABLE}
        new = old
        if self.enabled is not None and self.enabled != (old.enabled in ("enabled", "static", "alias")):
            new = replace(new, enabled="enabled" if self.enabled else "disabled")
        if self.active is not None and self.active != (old.active == "active"):
            new = replace(new, active="active" if self.active else "inactive")
        return {self.keys()[0]: new}

    def inverse(self, before: States) -> BasePrimitive | None:
        old = before[self.keys()[0]]
        if not isinstance(old, Unit):
            return None
        return SetUnit(
            self.unit,
            None if self.enabled is None else old.enabled == "enabled",
            None if self.active is None else old.active == "active",
        )

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        words = {
            (True, None): "enabled",
            (False, None): "disabled",
            (None, True): "started",
            (None, False): "stopped",
            (True, True): "enabled and started",
            (False, False): "disabled and stopped",
        }
        return Change(f"unit {self.unit}", "modify", attributes=words.get((self.enabled, self.active), "changed"))


@dataclass(frozen=True)
class RestartUnit(BasePrimitive):
    """Restarts a unit so that it reads what was written. `reason` is shown. Undo restarts it again, last."""

    kind: ClassVar[str] = "restart-unit"
    undo_last: ClassVar[bool] = True
    unit: str
    reason: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("restart", self.unit),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: UNPREDICTABLE}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RestartUnit(self.unit, "its files are back as they were")

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"restart {self.unit}", "run", attributes=self.reason)


@dataclass(frozen=True)
class ReloadUnits(BasePrimitive):
    """systemd reads its unit files anew (`daemon-reload`). Undo does the same, last."""

    kind: ClassVar[str] = "reload-units"
    undo_last: ClassVar[bool] = True
    reason: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("restart", "systemd"),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: UNPREDICTABLE}

    def inverse(self, before: States) -> BasePrimitive | None:
        return ReloadUnits("its files are back as they were")

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change("systemd reads its unit files anew", "run", attributes=self.reason)
