"""Mount points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.state import Key, Mount, State, States, Unpredictable


@dataclass(frozen=True)
class SetMount(BasePrimitive):
    """Mounts what fstab says at a mount point, through systemd, or unmounts it if nobody uses it.

    `source` and `fstype` are what mountinfo will say; both empty with `mounted` false.
    """

    kind: ClassVar[str] = "set-mount"
    target: str
    mounted: bool
    source: str = ""
    fstype: str = ""

    def keys(self) -> tuple[Key, ...]:
        return (Key("mount", self.target),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if not self.mounted:
            return {self.keys()[0]: None}
        same = isinstance(old, Mount) and (old.source, old.fstype) == (self.source, self.fstype)
        return {self.keys()[0]: old if same else Mount(self.source, self.fstype)}

    def inverse(self, before: States) -> BasePrimitive | None:
        old = before[self.keys()[0]]
        if not isinstance(old, Mount) or old.fstype == "autofs":
            # An automount point that nobody has used yet: the file system itself is what goes.
            return SetMount(self.target, mounted=False)
        return SetMount(self.target, True, old.source, old.fstype)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        if not self.mounted:
            return Change(f"mount {self.target}", "remove")
        return Change(f"mount {self.target}", verb_of(before, after), attributes=f"{self.fstype} {self.source}")
