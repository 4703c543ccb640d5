"""Whose rights a child takes on: ids and supplementary groups, from the node's own databases."""

from __future__ import annotations

import os
from typing import NamedTuple

from bai_wizard.machine.readers.accounts import AccountFiles

# The gid of nobody's group (Debian's `nogroup`): for an owner that no database knows, rather than root's group.
NOGROUP = 65534


class Identity(NamedTuple):
    """The ids a child runs with. `name` and `home` are empty where no database knows the uid."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str = ""
    home: str = ""


def identity_of_uid(uid: int, files: AccountFiles, *, fallback_gid: int = NOGROUP) -> Identity:
    """The identity of an owner; an unknown one gets `fallback_gid` (never root's group) and no other groups."""
    account = files.account_by_uid(uid)
    if account is None:
        return Identity(uid, fallback_gid or NOGROUP, ())
    return Identity(uid, account.gid, files.group_ids(account), account.name, account.home)


def identity_of_name(name: str, files: AccountFiles) -> Identity | None:
    """The identity of an account by name; None where there is none."""
    account = files.account(name)
    if account is None:
        return None
    return Identity(account.uid, account.gid, files.group_ids(account), account.name, account.home)


def is_shared(state: os.stat_result, files: AccountFiles, *, has_acl: bool) -> str:
    """Why others than root may write into a directory of root's; empty where root owns it alone."""
    if state.st_mode & 0o002:
        return "everybody may write there"
    if not state.st_mode & 0o020:
        return ""
    if has_acl:
        return "an access list lets others write there"
    if state.st_gid == 0:
        return ""
    members = files.members_by_gid(state.st_gid)
    return f"group {state.st_gid} may write there ({', '.join(members[:3])})" if members else ""
