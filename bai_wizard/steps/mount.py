"""A volume in /etc/fstab and mounted, as one step: what fails leaves fstab as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import Machine
from bai_wizard.core.primitives import Primitive, ReloadUnits, SetMount, SetUnit
from bai_wizard.core.primitives.files import Validator
from bai_wizard.core.state import Mount
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.edit_block import REPAIR_BY_HAND, read_text, rewrite
from bai_wizard.steps.fstab import FSTAB, FstabEntry, foreign_entries, path_unit, put_entry
from bai_wizard.steps.mounted_source import expected, family, holder, is_bind, is_same_mount
from bai_wizard.steps.volume_writers import refusal_of_writers, touch, writer_ids


@register
@dataclass(frozen=True, kw_only=True)
class MountVolume(Step):
    """Puts the volume's line into our block of fstab and mounts it through systemd.

    `line` is used word for word where the answers give one. `refused` says why it must not be tried (found out in
    preflight); a volume that is mounted already is not refused. `needs` are options that mountinfo must show.
    `written_as` are accounts, or `uid:gid`, that must be able to write there; they are tried after mounting, with
    `given_later` only if the directory belongs to the first of them already.
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
    given_later: bool = False
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
            later = "; what is mounted keeps its options until it is mounted anew" if mounted else ""
            yield ReloadUnits(f"/etc/fstab changed{later}")
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
        if looked["device"] == looked["parent"] and not self._may_share_a_device(machine):
            return (
                f"{self.target} is in the list of mounts, but what is seen there is the directory of the file system "
                "around it: something else was mounted over it. Look with «findmnt -T», unmount that first"
            )
        if self.given_later and looked["uid"] != writer_ids(machine, self.written_as[0])[0]:
            return ""  # the step that gives the directory to them tries it
        return refusal_of_writers(machine, self.target, self.written_as, looked)

    def _may_share_a_device(self, view: NodeView) -> bool:
        """True for a directory shown twice, and where a part of one file system is mounted within another part."""
        around = holder(view, dirname(self.target))
        return is_bind(self.options) or (around is not None and family(around[1].fstype) == family(self.fstype))
