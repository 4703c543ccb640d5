"""A volume in /etc/fstab and mounted, as one step: what fails leaves fstab as it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged
from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.machine import Machine
from bai_wizard.core.primitives import Primitive, ReloadUnits, SetMount, SetUnit
from bai_wizard.core.primitives.files import Validator
from bai_wizard.core.state import Mount
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps import volume_touch
from bai_wizard.steps.edit_block import REPAIR_BY_HAND, read_text, rewrite
from bai_wizard.steps.fstab import FSTAB, FstabEntry, foreign_entries, path_unit, put_entry
from bai_wizard.steps.mounted_source import expected, is_same_mount
from bai_wizard.steps.owner import ids_of
from bai_wizard.steps.volume_words import cannot_write

# Seconds a share may take for a few small calls before it counts as not answering.
TOUCH_DEADLINE = 8.0


@register
@dataclass(frozen=True, kw_only=True)
class MountVolume(Step):
    """Puts the volume's line into our block of fstab and mounts it through systemd.

    `line` is used word for word where the answers give one. `refused` says why it must not be tried (found out in
    preflight); a volume that is mounted already is not refused. `needs` are options that mountinfo must show.
    `written_as` are accounts, or `uid:gid`, that must be able to write there; they are tried after mounting.
    """

    kind: ClassVar[str] = "mount-volume"
    source: str
    target: str
    fstype: str
    options: str
    line: str = ""
    automount: bool = False
    needs: tuple[str, ...] = ()
    written_as: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    refused: str = ""
    validator: Validator = ""
    undo_on_failure: bool = True

    def describe(self) -> str:
        told = f"; please check: {'; '.join(self.warned)}" if self.warned else ""
        return f"{self.source} mounted at {self.target} ({self.fstype}, {self.options}){told}"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{FSTAB}", f"mount:{self.target}", f"unit:{path_unit(self.target, 'automount')}")

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"please check: {'; '.join(self.warned)}" if self.warned else "")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        mounted = self._is_mounted(view)
        if self.refused and not mounted:
            raise StepBlocked(self.refused)
        text = read_text(view, FSTAB) or ""
        new = self._text_after(text)
        yield rewrite(view, FSTAB, new, self.validator)
        if new != text:
            yield ReloadUnits("/etc/fstab changed")
        if mounted:
            return
        if self.automount:
            # Before the mount: systemd refuses an automount point that is mounted already.
            yield SetUnit(path_unit(self.target, "automount"), None, True)
        promised = expected(view, self.source, self.fstype, self.options)
        yield SetMount(self.target, True, promised.source, promised.fstype)

    def _is_mounted(self, view: NodeView) -> bool:
        found = view.mount(self.target)
        if found is None:
            return False
        if found.fstype == "autofs" and self.automount:
            return True
        if not is_same_mount(view, found, self.source, self.fstype, self.options):
            raise StepBlocked(
                f"{found.source} ({found.fstype}) is mounted at {self.target}, and the answers say {self.source}. "
                "Unmount it, or give the volume another path"
            )
        self._refuse_missing(found)
        return True

    def _refuse_missing(self, found: Mount) -> None:
        missing = [option for option in self.needs if option not in found.options.split(",")]
        if found.options and missing:
            raise StepBlocked(
                f"{self.target} is mounted without {', '.join(missing)}, which can only be given at mounting. "
                f"Stop what uses it, «umount {self.target}», and plan again"
            )

    def _text_after(self, text: str) -> str:
        entry = FstabEntry(self.source, self.target, self.fstype, self.options)
        try:
            rivals = [other for other in foreign_entries(text) if other.target == self.target]
            if rivals:
                raise StepBlocked(
                    f"line {rivals[0].number} of {FSTAB} mounts {rivals[0].source} at {self.target} already. Remove "
                    'it to have the wizard care for it, or give the volume type = "existing"'
                )
            return put_entry(text, self.line or entry.render(), self.target)
        except BlockDamaged as error:
            raise StepBlocked(f"{FSTAB}: {error}. {REPAIR_BY_HAND}") from error

    def verify(self, view: NodeView) -> str:
        """Reads the mount back, and on a real node writes to it as those who will."""
        missing = super().verify(view)
        if missing or not isinstance(view, Machine) or not self.written_as:
            return missing
        return self._try_writing(view)

    def _try_writing(self, machine: Machine) -> str:
        looked = touch(machine, "look", self.target)
        if "errno" in looked:
            return f"{self.target} is mounted but does not answer: {looked['text']}"
        for who in dict.fromkeys(self.written_as):
            uid, gid = _ids(machine, who)
            answer = touch(machine, "write", self.target, str(uid), str(gid))
            if "errno" in answer:
                return cannot_write(self.target, who, uid, gid, looked, str(answer["text"]))
            if answer["uid"] != uid:
                return (
                    f"what {who} ({uid}) writes to {self.target} belongs to uid {answer['uid']} there: the server "
                    "maps users (all_squash, or NFSv4 names). Have the export keep numeric ids"
                )
        return ""


def touch(machine: Machine, *arguments: str, deadline: float = TOUCH_DEADLINE) -> dict[str, object]:
    """What `volume_touch` tells. Raises CannotTell when the volume does not answer in time."""
    program = [sys.executable, "-I", "-S", volume_touch.__file__, *arguments]
    completed = machine.look(program, deadline=deadline)
    if completed.code != 0:
        raise CannotTell(f"{arguments[1]}: {completed.err.strip()[-200:] or 'the probe ended without an answer'}")
    answer: dict[str, object] = json.loads(completed.out)
    return answer


def _ids(view: NodeView, who: str) -> tuple[int, int]:
    uid, colon, gid = who.partition(":")
    return (int(uid), int(gid)) if colon else ids_of(view, who)
