"""Live kernel parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome
from bai_wizard.core.state import Key, State, States, Sysctl, Unpredictable


@dataclass(frozen=True)
class SetSysctl(BasePrimitive):
    """One live kernel parameter. `value` has its fields joined by one blank."""

    kind: ClassVar[str] = "set-sysctl"
    key: str
    value: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("sysctl", self.key),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        return {self.keys()[0]: replace(old, value=self.value) if isinstance(old, Sysctl) else Sysctl(self.value)}

    def inverse(self, before: States) -> BasePrimitive | None:
        old = before[self.keys()[0]]
        return SetSysctl(self.key, old.value) if isinstance(old, Sysctl) else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        old = before.value if isinstance(before, Sysctl) else None
        return Change(self.key, "modify", old, self.value, "live")
