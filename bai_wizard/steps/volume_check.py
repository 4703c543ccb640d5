"""Looks at the top directory of a volume and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Literal

from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.owner import ids_of

# The kernel's words for a directory that is not the one any more that was mounted.
STALE = "stale file handle"
MADE_ANEW = "Its export was made anew on the server: stop what uses it, «umount -l {}», and repeat"
BRING_BACK = "Look after its server first; what uses the volume waits until it is back"


@register
@dataclass(frozen=True, kw_only=True)
class VolumeCheck(Step):
    """The volume is there, or a mount point, as `expects` says; a wrong owner is told where `owner` is given.

    Without `expects` an earlier step has seen to it that the volume is there. `silent` is why the volume does not
    answer, found out by the probe: it is not touched again, for that would cost the same deadline every time.
    """

    kind: ClassVar[str] = "volume-check"
    path: str
    expects: Literal["", "directory", "mount"] = ""
    owner: str = ""
    silent: str = ""

    def describe(self) -> str:
        whose = f" and belongs to {self.owner}" if self.owner else ""
        return f"{self.path} {'is mounted' if self.expects == 'mount' else 'is there'}{whose} (only looked at)"

    def note(self, view: NodeView) -> Unchanged:
        if not self.owner or self.silent:
            return Unchanged()
        try:
            entry = view.entry(self.path)
            uid, gid = ids_of(view, self.owner)
        except (CannotTell, StepBlocked) as error:
            return Unchanged(f"cannot tell whose {self.path} is: {error}")
        if entry is not None and (entry.uid, entry.gid) != (uid, gid):
            return Unchanged(
                f"{self.path} belongs to {entry.uid}:{entry.gid}, not to {self.owner} ({uid}:{gid}); only looked at"
            )
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self.silent:
            advice = MADE_ANEW if STALE in self.silent.lower() else BRING_BACK
            raise StepBlocked(
                f"{self.path} is mounted but does not answer ({self.silent}): nothing can be told of what it holds. "
                + advice.format(self.path)
            )
        if self.expects == "mount" and view.mount(self.path) is None:
            raise StepBlocked(
                f"nothing is mounted at {self.path}: what is written there would go to the root disk. Mount it by "
                "the vendor's client first, or give the volume another type"
            )
        if self.expects == "directory" and view.entry(self.path) is None:
            raise StepBlocked(f'{self.path} is not there, and owner = "check" means that it is only looked at')
        if self.owner:
            # Says in a plan that nobody can know before it is mounted; during the run it is looked at then.
            with suppress(CannotTell):
                view.entry(self.path)
        yield from ()
