"""Three-way undo of one path: type, content, owner and mode are handled separately."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Entry
from bai_wizard.engine.unmerge_json import undo_json
from bai_wizard.engine.unmerge_text import Undone, undo_text
from bai_wizard.resources.files import MakeDirectory, RemovePath, WriteFile, path_change, restore

T = TypeVar("T")


class PathUndo(Struct, frozen=True):
    """The operation that undoes our change of a path as far as possible, and what stays because others edited it."""

    operation: Operation | None
    conflict: str = ""


def undo_content(
    path: str, before: bytes | None, after: bytes, now: bytes, *, force: bool = False, shared: bool = False
) -> Undone:
    """Return the content of `path` without our change: what we added is removed, what we removed is restored.

    `before` is what we found, `after` what we wrote, `now` the current content. If `now` still equals `after`, the
    result is exactly `before`.

    `force`: lines of ours that others edited are undone too. `shared`: another run of ours still has lines in this
    file, so its block markers stay while anything is between them.
    """
    if now == after:
        return Undone(before)
    if now == before:
        return Undone(now)
    if b"\0" in after or (before is not None and b"\0" in before):
        return Undone(before) if force else Undone(now, ("it is a binary file that was changed since",))
    if path.endswith(".json"):
        return undo_json(before, after, now, force=force)
    return undo_text(path, before, after, now, force=force, shared=shared)


def undo_path(
    path: str,
    before: Entry | None,
    after: Entry | None,
    now: Entry | None,
    *,
    secret: bool = False,
    force: bool = False,
    shared: bool = False,
) -> PathUndo:
    """Return how to get from `now` to a path without our change from `before` to `after`; see `undo_content`."""
    whole = restore(path, before, secret=secret)
    if now in (after, before):
        return PathUndo(whole)
    if after is None or now is None:
        return _with_one_gone(path, before, after, now, whole, force=force)
    if now.type != after.type or (before is not None and before.type != after.type):
        return _refused(path, after, now, whole, force=force)
    if after.type == "directory":
        return PathUndo(whole if before is None else _directory(path, before, after, now))
    if after.type != "file":
        # A link consists of its target; it cannot be edited in part.
        same = (after.type, after.target) == (now.type, now.target)
        return PathUndo(whole) if same else _refused(path, after, now, whole, force=force)
    old = before.content if before is not None else None
    if after.content is None or now.content is None or (before is not None and old is None):
        return _refused(path, after, now, whole, force=force)
    undone = undo_content(path, old, after.content, now.content, force=force, shared=shared)
    conflict = f"{path}: {'; '.join(undone.kept)}" if undone.kept and not secret else ""
    if undone.kept and secret:
        conflict = f"{path}: its content was edited"
    elif undone.kept and undone.content == now.content:
        conflict += f"\n{path_change(path, after, now).diff()}"
    if undone.content is None:
        return PathUndo(RemovePath(path, secret), conflict)
    uid, gid, mode = _attributes(before, after, now)
    return PathUndo(WriteFile(path, undone.content, uid, gid, mode, secret=secret), conflict)


def _with_one_gone(
    path: str, before: Entry | None, after: Entry | None, now: Entry | None, whole: Operation | None, *, force: bool
) -> PathUndo:
    """Handle a path that we removed and others re-created, or that we changed and others removed."""
    if after is None:
        is_there = before is not None and now is not None and before.type == now.type == "directory"
        return PathUndo(restore(path, now)) if is_there else _refused(path, after, now, whole, force=force)
    if before is None or before.type == "directory" or force:
        return PathUndo(whole if force and before is not None else RemovePath(path))
    if after.content is not None and before.content is not None:
        lost = undo_content(path, before.content, after.content, b"").content
        if not (lost or b"").strip():
            return PathUndo(RemovePath(path))
    return _refused(path, after, now, whole, force=force)


def _refused(path: str, after: Entry | None, now: Entry | None, whole: Operation | None, *, force: bool) -> PathUndo:
    if force:
        return PathUndo(whole)
    if now is None:
        return PathUndo(None, f"{path} was changed since: it no longer exists")
    return PathUndo(None, f"{path} was changed since: {path_change(path, after, now).diff()}")


def _directory(path: str, before: Entry, after: Entry, now: Entry) -> Operation:
    return MakeDirectory(path, *_attributes(before, after, now))


def _attributes(before: Entry | None, after: Entry, now: Entry) -> tuple[int, int, int]:
    """Owner and mode: each is restored if it is still what we set, and stays if others changed it."""
    if before is None:
        return now.uid, now.gid, now.mode
    return (
        _part(before.uid, after.uid, now.uid),
        _part(before.gid, after.gid, now.gid),
        _part(before.mode, after.mode, now.mode),
    )


def _part(before: T, after: T, now: T) -> T:
    return before if now == after else now
