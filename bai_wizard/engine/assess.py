"""Whether one operation of a run can be undone on the current node, and why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from bai_wizard.core.errors import KnownAfterApply, StateUnknown
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation
from bai_wizard.core.state import Account, Group, Key, Package, State, Unit, Unpredictable, matches
from bai_wizard.core.state import Entry as PathEntry
from bai_wizard.engine.journal import Entry
from bai_wizard.engine.unmerge import undo_path
from bai_wizard.resources.files import PathOperation, RemovePath, WriteFile
from bai_wizard.resources.images import RemoveImages
from bai_wizard.resources.packages import HoldPackages
from bai_wizard.resources.units import SetUnit
from bai_wizard.resources.users import AddMember, RemoveGroup, RemoveMember, SetPassword

# The maximum number of directory entries that are listed.
SHOWN_NAMES = 5


Shared = Callable[[str], bool]


def not_shared(path: str) -> bool:
    """No file is shared with another run."""
    return False


class Verdict(Struct, frozen=True):
    """What undo does with one journal entry.

    `inverse` is the operation to apply, or None. `conflict` says what stays although it should be removed, and why;
    the undo is then incomplete. `stays` says what stays because others use it now. `lasting`: it cannot be undone at
    all.
    """

    entry: Entry
    inverse: Operation | None
    conflict: str = ""
    stays: str = ""
    lasting: bool = False


def assess(
    entry: Entry,
    view: NodeView,
    *,
    force: bool = False,
    shared: Shared = not_shared,
    gone: set[str] | frozenset[str] = frozenset(),
) -> Verdict:
    """The verdict on one entry, from the node (real or predicted) alone. `gone`: accounts that will be removed."""
    inverse = entry.inverse
    if inverse is None:
        return Verdict(entry, None, lasting=True)
    try:
        if isinstance(inverse, PathOperation):
            return _path(entry, inverse, view, force=force, shared=shared, gone=gone)
        if isinstance(inverse, RemoveImages):
            return _images(entry, inverse, view, force=force)
        if isinstance(inverse, HoldPackages):
            return _holds(entry, inverse, view)
        verdict = _others(entry, inverse, view, force=force)
        if verdict.conflict and _user_of(inverse) in gone:
            return Verdict(entry, None)  # it is removed together with the account
        return verdict
    except StateUnknown as error:
        return Verdict(entry, None, f"{inverse.keys()[0].name}: {error}")
    except KnownAfterApply:
        return Verdict(entry, inverse)  # hidden by a mount that is undone first; decided once it is visible


def _path(
    entry: Entry,
    inverse: PathOperation,
    view: NodeView,
    *,
    force: bool,
    shared: Shared,
    gone: set[str] | frozenset[str] = frozenset(),
) -> Verdict:
    key = inverse.keys()[0]
    if key not in entry.before or key not in entry.after:
        return Verdict(entry, inverse)
    now = view.entry(inverse.path)
    after = entry.after[key]
    before = entry.before[key]
    if not isinstance(before, PathEntry | None) or not isinstance(after, PathEntry | None):
        return Verdict(entry, inverse)
    is_shared = now not in (before, after) and shared(inverse.path)
    secret = bool(getattr(inverse, "secret", False))
    undone = undo_path(inverse.path, before, after, now, secret=secret, force=force, shared=is_shared)
    if isinstance(undone.operation, RemovePath) and now is not None and now.type == "directory":
        names = view.names(inverse.path)
        if names:
            return Verdict(entry, None, stays=f"{inverse.path}/ holds {_listed(names)}")
        if view.state(Key("mount", inverse.path)) is not None:
            return Verdict(entry, None, stays=f"{inverse.path}/ is a mount point")
    conflict = undone.conflict
    if conflict and isinstance(undone.operation, WriteFile) and not secret:
        conflict += _left_to(undone.operation, gone, view)
    return Verdict(entry, undone.operation, conflict)


def _left_to(written: WriteFile, gone: set[str] | frozenset[str], view: NodeView) -> str:
    """A warning if a kept rule is for a removed account: the next one with its name or UID would inherit it."""
    if not written.path.startswith(("/etc/sudoers", "/etc/security/limits")):
        return ""
    lines = written.content.decode("utf-8", "replace").split("\n")
    subjects = {line.split()[0] for line in lines if line.strip()}
    for name in sorted(gone):
        account = view.account(name)
        numbers = {f"#{account.uid}", str(account.uid)} if account is not None else set()
        if subjects & {name, f"%{name}", f"@{name}", *numbers}:
            uid = f" (UID {account.uid})" if account is not None else ""
            return (
                f"; it is for {name}{uid}, whose account is removed, and would apply to the next account with this "
                "name or UID: delete the line"
            )
    return ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def _others(entry: Entry, inverse: Operation, view: NodeView, *, force: bool) -> Verdict:
    for key in inverse.keys():
        if key.kind in ("restart", "command"):
            continue
        now = view.state(key)
        if key not in entry.after or now == entry.before.get(key) or _is_ours(entry.after[key], now):
            continue
        if isinstance(inverse, SetUnit) and isinstance(now, Unit):
            continue
        if not force:
            return Verdict(entry, None, f"{key.name} was changed since: {_difference(now)}")
    if isinstance(inverse, SetUnit):
        return _unit(entry, inverse, view, force=force)
    if isinstance(inverse, RemoveGroup):
        return _group(entry, inverse, view)
    return Verdict(entry, inverse)


def _images(entry: Entry, inverse: RemoveImages, view: NodeView, *, force: bool) -> Verdict:
    """Decide per image: one whose name now refers to an image that others pulled stays."""
    ours, changed = [], []
    for key, reference in zip(inverse.keys(), inverse.references, strict=True):
        now = view.state(key)
        if now is None or key not in entry.after or force or _is_ours(entry.after[key], now):
            ours.append(reference)
        else:
            changed.append(f"{reference} was changed since: {_difference(now)}")
    return Verdict(entry, RemoveImages(tuple(ours)) if ours else None, "; ".join(changed))


def _holds(entry: Entry, inverse: HoldPackages, view: NodeView) -> Verdict:
    """Decide per package: only holds that this run changed, regardless of the current version."""
    names = []
    for key, name in zip(inverse.keys(), inverse.names, strict=True):
        states = (entry.before.get(key), entry.after.get(key), view.state(key))
        before, after, now = (state.held if isinstance(state, Package) else None for state in states)
        if now is not None and before is not None and now == after != before:
            names.append(name)
    return Verdict(entry, HoldPackages(tuple(names), inverse.held) if names else None)


def _is_ours(after: State | Unpredictable | None, now: State | None) -> bool:
    """Whether this is still what we made; users may change other fields of their account or group."""
    if isinstance(after, Account) and isinstance(now, Account):
        return (after.uid, after.local) == (now.uid, now.local)
    if isinstance(after, Group) and isinstance(now, Group):
        return (after.gid, after.local) == (now.gid, now.local)
    return matches(after, now)


def _unit(entry: Entry, inverse: SetUnit, view: NodeView, *, force: bool) -> Verdict:
    """Decide on enabled and active separately: only what this run changed, and only if it is still unchanged."""
    key = inverse.keys()[0]
    before, after, now = entry.before.get(key), entry.after.get(key), view.state(key)
    if not isinstance(before, Unit) or not isinstance(after, Unit) or not isinstance(now, Unit):
        return Verdict(entry, inverse)
    enabled, active = inverse.enabled, inverse.active
    if before.enabled == after.enabled:
        enabled = None
    elif now.enabled not in (before.enabled, after.enabled) and not force:
        return Verdict(entry, None, f"{inverse.unit} was changed since: it is {now.enabled}, not {after.enabled}")
    if before.active == after.active:
        active = None
    return Verdict(entry, SetUnit(inverse.unit, enabled, active))


def _group(entry: Entry, inverse: RemoveGroup, view: NodeView) -> Verdict:
    group = view.group(inverse.name)
    if group is None:
        return Verdict(entry, inverse)
    primary = [account.name for account in view.accounts() if account.gid == group.gid]
    members = [account.name for account in view.accounts() if view.is_member(account.name, group.name)]
    if primary:
        return Verdict(entry, None, stays=f"group {group.name} is the primary group of {_listed(primary)}")
    if members:
        return Verdict(entry, None, stays=f"group {group.name} has the members {_listed(members)}")
    return Verdict(entry, inverse)


def _user_of(inverse: Operation) -> str:
    return inverse.user if isinstance(inverse, SetPassword | AddMember | RemoveMember) else ""


def _difference(now: State | None) -> str:
    return "it no longer exists" if now is None else "it is not what this run left"
