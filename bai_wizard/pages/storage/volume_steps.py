"""Who can write to a volume, and the steps for its top directory: its check, its owner, and version.txt."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Literal

from bai_wizard.core.errors import KnownAfterApply, StateUnknown, StepBlocked
from bai_wizard.core.machine import Machine, NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.parse import json_value, whole
from bai_wizard.core.paths import NOT_DATA, holder, parents, refuse_homes, refuse_system, resolved
from bai_wizard.core.state import Entry, file_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.pages.storage import volume_probes
from bai_wizard.pages.storage.sources import is_local
from bai_wizard.resources.files import WriteFile
from bai_wizard.steps.accounts import ids_of
from bai_wizard.steps.files import Directory

# The owner of root's squashed files and of unmapped names.
NOBODY = (65534, 4294967294)


def cannot_write(
    path: str, who: str, uid: int, gid: int, looked: Mapping[str, object], text: str, *, local: bool = False
) -> str:
    """Describe the failure: `looked` is the view of `look` of the directory; `text` is the error of the call.

    `local` means that the directory is on a file system of this node, so no server is involved.
    """
    owner, mode = looked.get("uid"), looked.get("mode")
    whose = f"{owner}:{looked.get('gid')}, mode {mode:04o}" if isinstance(mode, int) else "unknown"
    message = f"{who} ({uid}:{gid}) cannot write to {path}: {text.lower()}; the directory is owned by {whose}. "
    if "read-only" in text.lower():
        return message + "The export or the mount is read-only; if that is intended, set the option ro for the volume"
    if local:
        return message + f"Run `chown {uid}:{gid} {path}`, or choose a mode that allows these IDs to write"
    if owner in NOBODY:
        return message + (
            "The server maps all users to an unknown one: with NFSv4, set the same Domain in /etc/idmapd.conf on "
            "both sides, or use numeric IDs (nfs4_disable_idmapping on the server)"
        )
    return message + (
        f"Have the storage administrator run `chown {uid}:{gid}` on the exported directory: root on this node cannot "
        "do so because the export squashes root, and it should stay that way"
    )


# Seconds that a share may take for a few small calls before it counts as not answering.
TOUCH_DEADLINE = 8.0


def touch(machine: Machine, *arguments: str, deadline: float = TOUCH_DEADLINE) -> dict[str, object]:
    """Return the output of `volume_probes`. Raises StateUnknown if the volume does not answer in time."""
    program = [sys.executable, "-I", "-S", volume_probes.__file__, *arguments]
    completed = machine.query(program, deadline=deadline)
    if completed.code != 0:
        raise StateUnknown(f"{arguments[1]}: {completed.err.strip()[-200:] or 'the probe ended without a result'}")
    answer: dict[str, object] = json_value(completed.out)
    return answer


def refusal_of_writers(machine: Machine, path: str, writers: Sequence[str], looked: dict[str, object]) -> str:
    """Explain why one of `writers` (accounts, or `uid:gid`) cannot write to a volume; empty if all can.

    `looked` is the output of `touch` for the directory.
    """
    for who in dict.fromkeys(writers):
        uid, gid = writer_ids(machine, who)
        answer = touch(machine, "write", path, str(uid), str(gid))
        if "errno" in answer:
            return cannot_write(path, who, uid, gid, looked, str(answer["text"]), local=is_local(machine, path))
        if answer["uid"] != uid:
            return (
                f"files that {who} ({uid}) writes to {path} are owned by UID {answer['uid']} there: the server maps "
                "users (all_squash, or NFSv4 names). Configure the export to keep numeric IDs"
            )
    return ""


def writer_ids(view: NodeView, who: str) -> tuple[int, int]:
    """Return the IDs of an account, or of `uid:gid`."""
    uid, colon, gid = who.partition(":")
    return (whole(uid), whole(gid)) if colon else ids_of(view, who)


# Bits of rwx.
WRITE, SEARCH = 0o3, 0o1


def is_denied(entry: Entry, uid: int, gid: int, wanted: int) -> bool:
    """Whether the mode denies `wanted` (rwx bits) to these IDs, regardless of any access control list.

    With an ACL, the group bits are its mask: if they would allow the access, it is unknown whether an entry grants it
    to others than the owner.
    """
    if uid == 0:
        return False
    if uid == entry.uid:
        return entry.mode >> 6 & wanted != wanted
    if entry.mode >> 3 & wanted == wanted:
        return False
    return gid == entry.gid or entry.mode & wanted != wanted


def first_denied(
    view: NodeView, entry: Entry, writers: Sequence[str], wanted: int = WRITE
) -> tuple[str, int, int] | None:
    """Return the first of `writers` (accounts, or `uid:gid`) that is denied, with its IDs.

    Raises StepBlocked if the node has no such account.
    """
    for who in dict.fromkeys(writers):
        uid, gid = writer_ids(view, who)
        if is_denied(entry, uid, gid, wanted):
            return who, uid, gid
    return None


def refusal_by_mode(view: NodeView, directory: str, writers: Sequence[str]) -> str:
    """Explain why one of `writers` (accounts, or `uid:gid`) cannot write to a local directory; empty if uncertain.

    Raises StateUnknown and KnownAfterApply if the directory cannot be read, StepBlocked if an account does not exist.
    """
    leads = resolved(view, directory)
    around = holder(view, leads)
    if around is None or not is_local(view, leads):
        return ""
    if "ro" in around[1].options.split(","):
        return (
            f"the file system at {around[0]}, which contains {directory}, is mounted read-only; run `mount -o "
            f"remount,rw {around[0]}`, or set the option ro for the volume"
        )
    entry = view.entry(leads)
    if entry is None or entry.type != "directory":
        return ""
    result = first_denied(view, entry, writers)
    if result is None:
        return ""
    who, uid, gid = result
    if uid == entry.uid:
        advice = f"Run `chmod u+rwx {directory}`"
    elif who == writers[0]:
        advice = f'Run `chown {uid}:{gid} {directory}`, or set owner = "set" for the volume'
    else:
        advice = f"Run `setfacl -m u:{uid}:rwx {directory}`, or choose a mode that allows these IDs to write"
    return f"{who} ({uid}:{gid}) cannot write to {directory}, which belongs to {_owner_and_mode(entry)}. {advice}"


def refusal_of_path(view: NodeView, path: str, writers: Sequence[str]) -> str:
    """Explain why one of `writers` cannot search a local parent directory of `path`; empty if all can."""
    for above in parents(path):
        leads = resolved(view, above)
        entry = view.entry(leads)
        if entry is not None and entry.type == "directory" and is_local(view, leads):
            result = first_denied(view, entry, writers, SEARCH)
            if result is not None:
                who, uid, gid = result
                return (
                    f"{who} ({uid}:{gid}) cannot reach {path}: {above} belongs to {_owner_and_mode(entry)}. "
                    f"Run `chmod a+x {above}`"
                )
    return ""


def _owner_and_mode(entry: Entry) -> str:
    return f"{entry.uid}:{entry.gid} with mode {entry.mode:04o}"


# The kernel's message for a directory that was replaced since it was mounted.
STALE = "stale file handle"
RECREATED = (
    "Its export was re-created on the server: stop the programs that use it, run `umount -l {}`, and try again"
)
SERVER_DOWN = "Check its server first; programs that use the volume hang until it responds"


class VolumeCheck(Step, frozen=True, kw_only=True):
    """The volume exists, or is a mount point, as `expects` says; a wrong owner is reported if `owner` is given.

    Without `expects`, an earlier step has ensured that the volume exists. `silent` is the probe's reason why the
    volume does not answer: it is not accessed again, because that would take the full timeout every time.
    """

    kind: ClassVar[str] = "volume-check"
    path: str
    expects: Literal["", "directory", "mount"] = ""
    owner: str = ""
    silent: str = ""

    def describe(self) -> str:
        owner = f" and owned by {self.owner}" if self.owner else ""
        return f"check that {self.path} {'is mounted' if self.expects == 'mount' else 'exists'}{owner}"

    def note(self, view: NodeView) -> Unchanged:
        if not self.owner or self.silent:
            return Unchanged()
        try:
            entry = view.entry(self.path)
            uid, gid = ids_of(view, self.owner)
        except (StateUnknown, StepBlocked) as error:
            return Unchanged(f"the owner of {self.path} cannot be determined: {error}")
        if entry is not None and (entry.uid, entry.gid) != (uid, gid):
            return Unchanged(
                f"{self.path} is owned by {entry.uid}:{entry.gid}, not by {self.owner} ({uid}:{gid}); left unchanged"
            )
        return Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.silent:
            advice = RECREATED if STALE in self.silent.lower() else SERVER_DOWN
            raise StepBlocked(
                f"{self.path} is mounted but does not respond ({self.silent}), so its content is unknown. "
                + advice.format(self.path)
            )
        if self.expects == "mount" and view.mount(self.path) is None:
            raise StepBlocked(
                f"nothing is mounted at {self.path}: data written there would go to the root disk. {self._advice()}"
            )
        if self.expects == "directory" and view.entry(self.path) is None:
            raise StepBlocked(f'{self.path} does not exist, and with owner = "check" it is not created')
        if self.owner:
            # In a plan, this is known only after the mount; during the run the directory is checked then.
            with suppress(StateUnknown):
                view.entry(self.path)
        yield from ()

    def _advice(self) -> str:
        return "Mount it with the vendor's client first, or choose another type for the volume"


class ClientVolume(VolumeCheck, frozen=True, kw_only=True):
    """`fstype`, which its own client mounts, is mounted there; `advice` is how the client is told to."""

    kind: ClassVar[str] = "client-volume"
    fstype: str
    advice: str

    def _advice(self) -> str:
        return self.advice

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from super().operations(view)
        mount = view.mount(self.path)
        if mount is not None and mount.fstype not in (self.fstype, "autofs"):
            raise StepBlocked(
                f"{mount.source} ({mount.fstype}) is mounted at {self.path}, but the settings specify {self.fstype}. "
                f"Unmount it, or choose another path for the volume. {self.advice}"
            )


class VolumeOwner(Directory, frozen=True, kw_only=True):
    """Like any directory; `written_as` are accounts, or `uid:gid`, that must be able to write there afterwards."""

    kind: ClassVar[str] = "volume-owner"
    written_as: tuple[str, ...] = ()

    def _refuse(self, view: NodeView) -> None:
        """Raise StepBlocked as for any directory, but accept one with data or owned by root: it is a volume."""
        refuse_system(view, self.path, "path")
        refuse_homes(view, self.path, self.owner, "path")

    def _refuse_unwritable(self, view: NodeView) -> None:
        """The step that mounts it has checked this; the mount point below is immutable on purpose."""

    def operations(self, view: NodeView) -> Iterator[Operation]:
        self._refuse_mode(view)
        yield from super().operations(view)

    def _refuse_mode(self, view: NodeView) -> None:
        """Refuse a mode that locks out one of the writers, even while the volume is not mounted yet."""
        if not self.written_as or not is_local(view, self.path):
            return
        uid, gid = ids_of(view, self.owner)
        wanted = Entry("directory", uid, gid, self.mode)
        with suppress(KnownAfterApply):
            if view.entry(self.path) == wanted:
                return
        result = first_denied(view, wanted, self.written_as)
        if result is not None:
            raise StepBlocked(
                f"{result[0]} ({result[1]}:{result[2]}) could not write to {self.path} with owner {self.owner} "
                f"and mode {self.mode:04o}: choose a mode for the volume that allows these IDs to write"
            )

    def verify(self, view: NodeView) -> str:
        """Read owner and mode back, and on a real node write as its future writers."""
        missing = super().verify(view)
        if missing or not isinstance(view, Machine):
            return missing
        return refusal_of_writers(view, self.path, self.written_as, touch(view, "look", self.path))


VERSION_FILE = "version.txt"
# The layout of all releases since 21.09; without the file the storage proxy reports "Detected an old vfolder
# structure" and requires a migration (backend.ai, storage/migration.py).
LAYOUT_VERSION = "3"


class VersionSays(Step, frozen=True, kw_only=True):
    """Block if version.txt names another layout: only the administrator knows which layout the data has."""

    kind: ClassVar[str] = "version-says"
    path: str
    optional: bool = True

    def describe(self) -> str:
        return f"check that {self.path}/{VERSION_FILE} names layout {LAYOUT_VERSION}"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        try:
            entry = view.entry(f"{self.path}/{VERSION_FILE}")
        except StateUnknown:
            return  # the step that checks the file reports this as its note
        output = "" if entry is None else (entry.text() or "").strip()
        if entry is not None and (entry.type != "file" or output != LAYOUT_VERSION):
            raise StepBlocked(
                f"{self.path}/{VERSION_FILE} contains {output[:20]!r}, not {LAYOUT_VERSION!r}: "
                "the storage proxy refuses the volume."
                f" If its data has layout {LAYOUT_VERSION}, write {LAYOUT_VERSION} to the file; "
                "otherwise migrate the data"
            )
        yield from ()


class VersionFile(Step, frozen=True, kw_only=True):
    """Write version.txt into an empty volume, as the account; with `write` false only check it.

    A volume with data keeps its file: only its administrator knows its layout.
    """

    kind: ClassVar[str] = "version-file"
    path: str
    owner: str
    write: bool = True

    @property
    def file(self) -> str:
        """The path of version.txt."""
        return f"{self.path}/{VERSION_FILE}"

    def describe(self) -> str:
        return f"write {LAYOUT_VERSION} to {self.file}" if self.write else f"check {self.file}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.file),)

    def note(self, view: NodeView) -> Unchanged:
        try:
            return Unchanged(self.complaint(view))
        except StateUnknown as error:
            return Unchanged(f"unknown: {error}")

    def complaint(self, view: NodeView) -> str:
        """Describe a problem with the existing file; empty if its content is right."""
        entry = view.entry(self.file)
        if entry is None and view.entry(self.path) is None:
            return f"{self.path} does not exist yet"
        if entry is None and not set(view.names(self.path)) - NOT_DATA:
            return (
                f"{self.path} is empty and has no {VERSION_FILE}; "
                'to write it, set version_file = "if-empty" on one node'
            )
        if entry is None:
            return (
                f"{self.path} contains data but no {VERSION_FILE}: the storage proxy will treat it as a legacy layout"
            )
        output = (entry.text() or "").strip()
        if entry.type != "file" or output != LAYOUT_VERSION:
            return (
                f"{self.file} contains {output[:20]!r}, not {LAYOUT_VERSION!r}: "
                "left unchanged, it may be an older layout"
            )
        return ""

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if not self.write:
            # In a plan, this is known only after the mount; during the run the file is checked then.
            with suppress(StateUnknown):
                view.entry(self.file)
            return
        if set(view.names(self.path)) - NOT_DATA:
            return
        if view.entry(self.path) is None:
            raise StepBlocked(f"{self.path} does not exist")
        refuse_system(view, self.path, "path")
        uid, gid = ids_of(view, self.owner)
        yield WriteFile(self.file, f"{LAYOUT_VERSION}\n".encode(), uid, gid, 0o644)
