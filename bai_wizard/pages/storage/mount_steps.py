"""Steps that mount a volume: the mount point, its write guard, the line in fstab, and a volume to keep."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, StepBlocked
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Missing, Operation, Scope, above
from bai_wizard.core.paths import (
    SEALED,
    TOPS,
    exported,
    family,
    holder,
    origin,
    refuse_homes,
    refuse_system,
    refuse_taken,
    resolved,
)
from bai_wizard.core.state import RELOAD, Key, Mount, file_key, unit_key
from bai_wizard.core.step import Node, Step, Unchanged
from bai_wizard.pages.storage.fstab import FSTAB, FstabEntry, foreign_entries, path_unit, put_entry
from bai_wizard.pages.storage.sources import expected_mount, is_bind, is_same_mount
from bai_wizard.pages.storage.volume_steps import (
    refusal_by_mode,
    refusal_of_path,
    refusal_of_writers,
    touch,
    writer_ids,
)
from bai_wizard.resources.files import SetImmutable, Validator
from bai_wizard.resources.mounts import SetMount
from bai_wizard.resources.units import ReloadUnits, SetUnit
from bai_wizard.steps.files import REPAIR_BY_HAND, BlockDamaged, Directory, read_text, rewrite

MAX_SHOWN_NAMES = 5


class MountPoint(Step, frozen=True, kw_only=True):
    """Create the directory to mount at, owned by root. Files in it block, because a mount would hide them.

    With `cover` they are accepted.
    """

    kind: ClassVar[str] = "mount-point"
    path: str
    cover: bool = False

    def describe(self) -> str:
        return f"create the mount point {self.path}/"

    def scope(self) -> tuple[Scope, ...]:
        return (*above(self.path), Missing(file_key(self.path)))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if view.mount(self.path) is not None:
            return
        refuse_system(view, self.path, "path")
        existing = view.entry(self.path)
        if existing is None:
            yield from Directory(id=self.id, path=self.path).operations(view)
            return
        if existing.type != "directory":
            raise StepBlocked(f"{self.path} is a {existing.type}, not a directory: nothing can be mounted there")
        hidden = view.names(self.path)
        if hidden and not self.cover:
            more = " and more" if len(hidden) > MAX_SHOWN_NAMES else ""
            raise StepBlocked(
                f"{self.path} contains {', '.join(hidden[:MAX_SHOWN_NAMES])}{more}, "
                "written to the root disk while nothing was mounted; a mount would hide it. Stop the programs "
                "that write there, move the files away, and plan again (or set guard = false to mount over them)"
            )


class Guard(Step, frozen=True, kw_only=True):
    """Make the empty mount point immutable, below the volume if that is already mounted.

    `lacking` is the file system of the mount point if it does not support the attribute: then no guard is set, and
    the user is informed.
    """

    kind: ClassVar[str] = "guard"
    path: str
    lacking: str = ""

    def describe(self) -> str:
        return f"block writes to {self.path}/ while nothing is mounted there"

    def scope(self) -> tuple[Scope, ...]:
        return (Key("immutable", self.path),)

    def note(self, view: NodeView) -> Unchanged:
        if self.lacking:
            return Unchanged(
                f"no write guard: {self.path} is on {self.lacking}, which has no immutable attribute. While nothing "
                "is mounted, data would be written there; the doctor's check storage.not-mounted reports that"
            )
        return Unchanged(self._unreadable(view))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.lacking or self._unreadable(view):
            return
        if view.mount(self.path) is not None or not view.names(self.path):
            yield SetImmutable(self.path)

    def _unreadable(self, view: NodeView) -> str:
        """Explain why the directory under the mounted volume is left unchanged; empty if it can be guarded."""
        if view.mount(self.path) is None:
            return ""
        try:
            view.immutable(self.path)
        except StateUnknown as error:
            return f"mounted; the write guard below it cannot be checked: {error}"
        return ""


class MountVolume(Step, frozen=True, kw_only=True):
    """Put the volume's line into our block of fstab and mount it through systemd.

    `line` is used verbatim if the answers give one. `refused` explains why mounting must not be attempted (determined
    in preflight); a volume that is already mounted is not refused. `needs` are options that mountinfo must show.
    `written_as` are accounts, or `uid:gid`, that must be able to write there; they are tested after mounting, with
    `given_later` only if the directory already belongs to the first of them.
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
        return f"mount {self.source} at {self.target} ({self.fstype}, {self.options})"

    def warnings(self) -> tuple[str, ...]:
        return self.warned

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(FSTAB), Key("mount", self.target), unit_key(path_unit(self.target, "automount")), RELOAD)

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"warning: {'; '.join(self.warned)}" if self.warned else "")

    def operations(self, view: NodeView) -> Iterator[Operation]:
        unknown: KnownAfterApply | None = None
        try:
            self._refuse_system(view)
        except KnownAfterApply as error:
            # The content of a new mount is known only after it is made. The fstab line is already known.
            unknown = error
        mounted = self._is_mounted(view)
        if self.refused and not mounted:
            raise StepBlocked(self.refused)
        if not mounted:
            try:
                self._refuse_writers(view)
            except KnownAfterApply as error:
                unknown = unknown or error
        text = read_text(view, FSTAB) or ""
        new = self._text_after(text)
        yield rewrite(view, FSTAB, new, self.validator)
        if new != text:
            later = "; the mounted volume keeps its options until it is remounted" if mounted else ""
            yield ReloadUnits(f"/etc/fstab changed{later}")
        if unknown is not None:
            raise unknown
        if mounted:
            return
        if self.automount:
            # Before the mount: systemd refuses an automount point that is already mounted.
            yield SetUnit(path_unit(self.target, "automount"), None, True)
        predicted = expected_mount(view, self.source, self.fstype, self.options)
        yield SetMount(self.target, True, predicted.source, predicted.fstype)

    def apply(self, node: Node) -> None:
        """Apply the step. After a power cut the line in fstab mounts the volume at boot: the run owns that mount."""
        operations = list(self.operations(node.view))
        with node.announced(each for each in operations if isinstance(each, SetMount | SetUnit)):
            for operation in operations:
                node.do(operation)

    def _refuse_system(self, view: NodeView) -> None:
        """Refuse a source that would expose a system directory: the account may get its top directory."""
        if is_bind(self.options):
            refuse_system(view, self.source, "source")
            if self.given_later and self.written_as:
                self._refuse_given(view, self.written_as[0])
            return
        for point in ("/", *(f"/{name}" for name in (*sorted(SEALED), *sorted(TOPS), "var"))):
            existing = view.mount(point)
            if existing is not None and is_same_mount(view, existing, self.source, self.fstype, self.options):
                raise StepBlocked(
                    f"{self.source} is this node's own file system, mounted at {point}: a second mount at"
                    f" {self.target} would expose the system's files and change the owner of their top directory"
                )
        shown = exported(self.source)
        if shown is not None and self.given_later and self.written_as:
            # As far as names tell: a server under another name is recognized once it is mounted.
            refuse_homes(view, self.target, self.written_as[0], "source", shown)

    def _refuse_given(self, view: NodeView, account: str) -> None:
        """Refuse a bind mount's source on the root file system like any other directory that changes its owner."""
        if origin(view, resolved(view, self.source)).below(origin(view, "/")) is not None:
            refuse_taken(view, self.source, account, "source")
        else:
            refuse_homes(view, self.source, account, "source")

    def _refuse_writers(self, view: NodeView) -> None:
        """Refuse in advance what the test after mounting would find: owners and modes on this node."""
        if not self.written_as:
            return
        refusal = refusal_of_path(view, self.target, self.written_as)
        if not refusal and is_bind(self.options) and not self.given_later:
            refusal = refusal_by_mode(view, self.source, self.written_as)
        if refusal:
            raise StepBlocked(refusal)

    def _is_mounted(self, view: NodeView) -> bool:
        result = view.mount(self.target)
        if result is None:
            return False
        if result.fstype == "autofs" and self.automount:
            return True
        if not is_same_mount(view, result, self.source, self.fstype, self.options):
            raise StepBlocked(
                f"{result.source} ({result.fstype}) is mounted at {self.target}, but the settings specify "
                f"{self.source}. Unmount it, or choose another path for the volume"
            )
        self._refuse_missing(result)
        return True

    def _refuse_missing(self, result: Mount) -> None:
        if "ro" in result.options.split(",") and "ro" not in self.options.split(","):
            raise StepBlocked(
                f"{self.target} is mounted read-only, but the settings do not request that. Find the cause (the "
                f"kernel does this on disk errors: `journalctl -k`), then run `mount -o remount,rw {self.target}`"
            )
        missing = [option for option in self.needs if option not in result.options.split(",")]
        if result.options and missing:
            raise StepBlocked(
                f"{self.target} is mounted without {', '.join(missing)}, which can only be set when mounting. "
                f"Stop the programs that use it, run `umount {self.target}`, and plan again"
            )

    def _text_after(self, text: str) -> str:
        entry = FstabEntry(self.source, self.target, self.fstype, self.options)
        try:
            rivals = [other for other in foreign_entries(text) if other.target == self.target]
            if rivals:
                raise StepBlocked(
                    f"line {rivals[0].number} of {FSTAB} already mounts {rivals[0].source} at {self.target}. Remove "
                    'it to let the wizard manage the volume, or set type = "existing" for the volume'
                )
            return put_entry(text, self.line or entry.render(), self.target)
        except BlockDamaged as error:
            raise StepBlocked(f"{FSTAB}: {error}. {REPAIR_BY_HAND}") from error

    def verify(self, view: NodeView) -> str:
        """Read the mount back, and on a real node write to it as its future writers."""
        missing = super().verify(view)
        if missing or not isinstance(view, Machine) or not self.written_as:
            return missing
        return self._try_writing(view)

    def _try_writing(self, machine: Machine) -> str:
        looked = touch(machine, "look", self.target)
        if "errno" in looked:
            return f"{self.target} is mounted but does not respond: {looked['text']}"
        if looked["device"] == looked["parent"] and not self._may_share_a_device(machine):
            return (
                f"{self.target} is listed as mounted, but shows the directory of the surrounding file system: "
                f"another mount covers it. Find that mount with `findmnt -T {self.target}` and unmount it first"
            )
        if self.given_later and self._is_given_later(machine, looked):
            return ""  # tested by the step that gives them the directory
        return refusal_of_writers(machine, self.target, self.written_as, looked)

    def _is_given_later(self, machine: Machine, looked: dict[str, object]) -> bool:
        """Whether the next step still has to change the directory's owner, or a mode that its owner cannot use."""
        mode = looked["mode"]
        owner = writer_ids(machine, self.written_as[0])[0]
        return looked["uid"] != owner or (isinstance(mode, int) and mode & 0o300 != 0o300)

    def _may_share_a_device(self, view: NodeView) -> bool:
        """Whether the device may equal the parent's: for a bind mount, or a file system mounted within itself."""
        around = holder(view, dirname(self.target))
        return is_bind(self.options) or (around is not None and family(around[1].fstype) == family(self.fstype))


class OrphanedVolume(Step, frozen=True, kw_only=True):
    """Changes nothing: sessions may have files open there, and a volume is easily omitted from the answers."""

    kind: ClassVar[str] = "left-volume"
    path: str

    def describe(self) -> str:
        return f"keep {self.path}, which is no longer in the settings"

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(
            f"{self.path} is in the wizard's block of /etc/fstab but not in the settings. To remove it: stop the "
            f"programs that use it, run `umount {self.path}`, delete its line in /etc/fstab, and run "
            "`systemctl daemon-reload`"
        )

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from ()
