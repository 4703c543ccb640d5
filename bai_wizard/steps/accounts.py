"""Accounts: users, groups, memberships and passwords, and files that belong to an account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from posixpath import dirname
from typing import ClassVar, Literal

from bai_wizard.core.errors import AccessDenied, KnownAfterApply, StateUnknown, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.paths import is_system, parents, refuse_system
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Key, member_key
from bai_wizard.core.step import Effect, Step
from bai_wizard.resources.files import MakeDirectory
from bai_wizard.resources.trees import GiveTree
from bai_wizard.resources.users import AddGroup, AddMember, AddUser, SetPassword


def ids_of(view: NodeView, owner: str) -> tuple[int, int]:
    """Return the UID and primary GID of an account. Raises StepBlocked if the node has no such account."""
    if owner == "root":
        return 0, 0
    account = account_of(view, owner)
    return account.uid, account.gid


def account_of(view: NodeView, name: str) -> Account:
    """Return the account, real or predicted. Raises StepBlocked if the node has no such account."""
    account = view.account(name)
    if account is None:
        raise StepBlocked(
            f"account {name!r} does not exist on this node: complete the Account page ([account] in the answers)"
        )
    return account


def below(top: str, path: str) -> list[str]:
    """Return the paths below `top` down to `path`; only `path` if it is not below `top`."""
    return [*reversed([each for each in parents(path) if each.startswith(f"{top}/")]), path]


def restore_ownership(view: NodeView, account: Account, *paths: str) -> Iterator[Operation]:
    """Give root-owned directories back to the account, outermost first, and make them accessible to it.

    The last of `paths` is handled recursively. Raises StepBlocked for a directory of a third account, which may need
    it.
    """
    for path in paths:
        existing = view.entry(path)
        if existing is None or existing.type == "link" or account.uid == 0:
            continue
        if existing.uid not in (0, account.uid):
            raise StepBlocked(
                f"{path} belongs to UID {existing.uid}: give it to the account (chown -R {account.name}: {path}),"
                " or move it away"
            )
        if existing.uid == 0:
            yield GiveTree(path, account.uid, account.gid, recursive=path == paths[-1])
        if existing.type == "directory" and existing.mode & 0o700 != 0o700:
            yield MakeDirectory(path, account.uid, account.gid, existing.mode | 0o700)


def then(step: str, giving: Iterable[Operation], rest: Callable[[], Iterator[Operation]]) -> Iterator[Operation]:
    """Yield the operations that return directories, then the rest of a step.

    If the rest cannot be read before that, it is known after apply. Any other failure to read stays what it is.
    """
    given = False
    try:
        for operation in giving:
            given = True
            yield operation
        yield from rest()
    except AccessDenied:
        if given:
            raise KnownAfterApply(step) from None
        raise


def owned_directories(view: NodeView, path: str, account: Account) -> Iterator[Operation]:
    """Create `path` and its missing parents: owned by the account below its home, otherwise by root except `path`.

    An existing directory is unchanged. Raises StepBlocked if it cannot belong to the account.
    """
    existing = view.entry(path)
    if existing is not None:
        if existing.type != "directory":
            raise StepBlocked(f"{path} is a {existing.type}, not a directory: move it away")
        if existing.uid != account.uid and account.uid != 0:
            raise StepBlocked(
                f"{path} does not belong to {account.name}: give it to the account, or choose another location"
            )
        return
    if path == account.home:
        raise StepBlocked(
            f"{path}, the home of {account.name}, does not exist: complete the Account page"
            " ([account] in the answers)"
        )
    above = dirname(path)
    inside = above == account.home or above.startswith(f"{account.home.rstrip('/')}/")
    if inside:
        yield from owned_directories(view, above, account)
    else:
        refuse_system(view, path, "directory for it", store=True)
        yield from _of_root(view, above)
    yield MakeDirectory(path, account.uid, account.gid)


def _of_root(view: NodeView, path: str) -> Iterator[Operation]:
    if path == "/" or view.entry(path) is not None:
        return
    yield from _of_root(view, dirname(path))
    yield MakeDirectory(path)


# The comment (GECOS) of accounts created by the wizard; `existing = "refuse"` uses it to tell them from others.
COMMENT = "Backend.AI operation"


class LocalAccount(Step, frozen=True, kw_only=True):
    """A local user and group with these IDs, created if missing and never altered if different.

    `uid_held_by` and `gid_held_by` name the holders of the IDs in a directory service (LDAP, SSSD), or are empty:
    only the probe can look them up. `holders_unknown` explains why it got no answer.
    """

    kind: ClassVar[str] = "local-account"
    name: str
    uid: int
    gid: int
    home: str
    shell: str
    existing: Literal["adopt", "refuse"] = "adopt"
    uid_held_by: str = ""
    gid_held_by: str = ""
    holders_unknown: str = ""

    def describe(self) -> str:
        return f"create or adjust account {self.name} (UID {self.uid}, GID {self.gid})"

    def scope(self) -> tuple[Scope, ...]:
        return (Key("user", self.name), Key("group", self.name))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = view.account(self.name)
        self._refuse_other_holders(view)
        if account is not None:
            self._refuse_existing(account, view)
        has_group = any(group.gid == self.gid for group in view.groups())
        if account is None and self.holders_unknown:
            raise StateUnknown(self.holders_unknown)
        if account is None or not (has_group or self.gid_held_by):
            self._refuse_group(view)
            yield AddGroup(self.name, self.gid)
        if account is None:
            self._refuse_shell(view)
            yield AddUser(self.name, self.uid, self.gid, COMMENT, self.home, self.shell)

    def _refuse_other_holders(self, view: NodeView) -> None:
        others = [other.name for other in view.accounts() if other.uid == self.uid and other.name != self.name]
        held_by = others[0] if others else self.uid_held_by
        if held_by:
            raise StepBlocked(
                f"UID {self.uid} belongs to the account {held_by!r}; choose another UID for all nodes and the shared"
                f" storage, or change the UID of {held_by!r} (usermod -u)"
            )

    def _refuse_existing(self, account: Account, view: NodeView) -> None:
        name = self.name
        if not account.local:
            raise StepBlocked(
                f"{name!r} comes from a directory (LDAP, SSSD); a local account would shadow it. Set"
                f' source = "directory" in [account], or choose another username'
            )
        if sum(other.name == name for other in view.accounts()) > 1:
            raise StepBlocked(f"{name!r} is listed twice in /etc/passwd; remove one of the lines with vipw")
        if self.existing == "refuse" and account.comment != COMMENT:
            raise StepBlocked(
                f'the account {name!r} already exists and existing = "refuse" is set; existing = "adopt" reuses it'
            )
        for what, result, wanted in (("uid", account.uid, self.uid), ("gid", account.gid, self.gid)):
            if result != wanted:
                raise StepBlocked(
                    f"{name!r} has {what} {result}, not {wanted}; set {what} = {result} in [account] of every node,"
                    f" or renumber the account and its files while none of its processes runs"
                )
        if account.home != self.home and is_system(account.home):
            raise StepBlocked(
                f"the home of {name!r} is {account.home}, a directory of the operating system; give the account"
                f" a home directory: usermod -d {self.home} {name}"
            )
        if account.home != self.home:
            raise StepBlocked(
                f'the home of {name!r} is {account.home}, not {self.home}; set home = "{account.home}" in'
                f" [account], or move it: usermod -d {self.home} -m {name}"
            )
        if account.shell != self.shell:
            raise StepBlocked(
                f"the login shell of {name!r} is {account.shell or '/bin/sh'}, not {self.shell}; set shell ="
                f' "{account.shell or "/bin/sh"}" in [account], or change it: chsh -s {self.shell} {name}'
            )

    def _refuse_group(self, view: NodeView) -> None:
        """Check the new account's group: its name and its GID must be free, or belong together."""
        holders = [group.name for group in view.groups() if group.gid == self.gid] or (
            [self.gid_held_by] if self.gid_held_by else []
        )
        if holders and self.name not in holders:
            raise StepBlocked(
                f"GID {self.gid} belongs to the group {holders[0]!r}; choose another GID for all nodes, or change"
                f" the group's GID (groupmod -g)"
            )
        group = view.group(self.name)
        if group is not None and not group.local:
            raise StepBlocked(f"the group {self.name!r} comes from a directory; a local group would shadow it")
        if group is not None and group.gid != self.gid:
            raise StepBlocked(
                f"the group {self.name!r} has GID {group.gid}, not {self.gid}; set gid = {group.gid} in [account],"
                f" or change the group: groupmod -g {self.gid} {self.name}"
            )

    def _refuse_shell(self, view: NodeView) -> None:
        listed = view.text("/etc/shells")
        if listed is not None and self.shell not in listed.split("\n"):
            raise StepBlocked(
                f"{self.shell} is not a login shell of this node (not listed in /etc/shells); install it, or choose"
                f" another shell in [account]"
            )


class DirectoryAccount(Step, frozen=True, kw_only=True):
    """An account in a directory service: its IDs are verified, nothing is created."""

    kind: ClassVar[str] = "directory-account"
    name: str
    uid: int
    gid: int

    def describe(self) -> str:
        return f"check account {self.name} of the directory service (UID {self.uid}, GID {self.gid})"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = view.account(self.name)
        if account is None:
            raise StepBlocked(
                f"{self.name!r} is not in the directory service: `getent passwd {self.name}` must find it here"
            )
        if account.local:
            raise StepBlocked(
                f"{self.name!r} is a local account that shadows the one in the directory; remove it"
                f' (userdel {self.name}), or set source = "local" in [account]'
            )
        for what, result, wanted in (("uid", account.uid, self.uid), ("gid", account.gid, self.gid)):
            if result != wanted:
                raise StepBlocked(
                    f"{self.name!r} has {what} {result} in the directory service, but {wanted} in the answers"
                )
        yield from ()


class Groups(Step, frozen=True, kw_only=True):
    """Add `account` to each of `groups`. A running session is affected only after the next login."""

    kind: ClassVar[str] = "groups"
    account: str
    groups: tuple[str, ...]
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"add {self.account} to {', '.join(self.groups)}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(member_key(self.account, group) for group in self.groups)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"account {self.account!r} does not exist on this node")
        for name in self.groups:
            group = view.group(name)
            if group is None:
                raise StepBlocked(f"group {name!r} does not exist on this node; create it first (groupadd {name})")
            if not group.local:
                raise StepBlocked(
                    f"the group {name!r} comes from a directory; {self.account!r} has to be added there"
                )
            if group.gid != account.gid:
                yield AddMember(self.account, name)


# No password matches it, and unlike "!" it does not stop sshd from accepting keys if PAM is not used.
LOCKED = Secret("*")


class SetAccountPassword(Step, frozen=True, kw_only=True):
    """Set the hash. Without one the field is locked, but a password that someone has set is kept.

    `unknown` explains why the hash could not be determined when the plan was made.
    """

    kind: ClassVar[str] = "password"
    account: str
    hash: Secret | None = None
    unknown: str = ""

    def describe(self) -> str:
        return (
            f"set the password of {self.account}"
            if self.hash or self.unknown
            else f"lock the password of {self.account}"
        )

    def scope(self) -> tuple[Scope, ...]:
        return (Key("password", self.account),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = view.account(self.account)
        if account is None:
            raise StepBlocked(f"account {self.account!r} does not exist on this node")
        if not account.local:
            raise StepBlocked(f"{self.account!r} comes from a directory service, which manages its password")
        if self.unknown:
            raise StateUnknown(self.unknown)
        if self.hash is not None:
            yield SetPassword(self.account, self.hash)
            return
        current = view.password(self.account)
        # An empty field lets everyone in; "!" alone is what useradd leaves.
        if current is None or current.hash.reveal() in ("", "!", "!!", "!*"):
            yield SetPassword(self.account, LOCKED)
