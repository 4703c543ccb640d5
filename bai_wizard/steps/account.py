"""The operation account with exact ids: the group first, by gid, then the user. A conflict blocks with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from bai_wizard.core.errors import CannotTell, StepBlocked
from bai_wizard.core.primitives import AddGroup, AddUser, Primitive
from bai_wizard.core.state import Account
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# The comment (GECOS) of accounts that the wizard makes; `existing = "refuse"` tells them from others by it.
COMMENT = "Backend.AI operation"


@register
@dataclass(frozen=True, kw_only=True)
class LocalAccount(Step):
    """A local user and group with these numbers, made where missing and never altered where they differ.

    `uid_held_by` and `gid_held_by` are who has the numbers in a directory (LDAP, SSSD), empty for nobody: only
    the probe can ask that. `holders_unknown` says why it got no answer.
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
        return f"account {self.name} with uid {self.uid} and gid {self.gid}"

    def scope(self) -> tuple[str, ...]:
        return (f"user:{self.name}", f"group:{self.name}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.name)
        self._refuse_other_holders(view)
        if account is not None:
            self._refuse_existing(account, view)
        has_group = any(group.gid == self.gid for group in view.groups())
        if account is None and self.holders_unknown:
            raise CannotTell(self.holders_unknown)
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
                f"uid {self.uid} belongs to the account {held_by!r}; choose another uid for all nodes and the shared"
                f" storage, or move {held_by!r} to another one (usermod -u)"
            )

    def _refuse_existing(self, account: Account, view: NodeView) -> None:
        name = self.name
        if not account.local:
            raise StepBlocked(
                f"{name!r} comes from a directory (LDAP, SSSD); a local account would shadow it. Put"
                f' source = "directory" into [account], or choose another username'
            )
        if sum(other.name == name for other in view.accounts()) > 1:
            raise StepBlocked(f"{name!r} stands twice in /etc/passwd; remove one of the lines with vipw")
        if self.existing == "refuse" and account.comment != COMMENT:
            raise StepBlocked(
                f'the account {name!r} is there already and existing = "refuse"; existing = "adopt" takes it over'
            )
        for what, found, wanted in (("uid", account.uid, self.uid), ("gid", account.gid, self.gid)):
            if found != wanted:
                raise StepBlocked(
                    f"{name!r} has {what} {found}, not {wanted}; put {what} = {found} into [account] of every node,"
                    f" or renumber the account and its files while nothing runs as it"
                )
        if account.home != self.home:
            raise StepBlocked(
                f'the home of {name!r} is {account.home}, not {self.home}; put home = "{account.home}" into'
                f" [account], or move it: usermod -d {self.home} -m {name}"
            )
        if account.shell != self.shell:
            raise StepBlocked(
                f"the login shell of {name!r} is {account.shell or '/bin/sh'}, not {self.shell}; put shell ="
                f' "{account.shell or "/bin/sh"}" into [account], or change it: chsh -s {self.shell} {name}'
            )

    def _refuse_group(self, view: NodeView) -> None:
        """The new account's group: its name and its gid have to be free, or belong together."""
        holders = [group.name for group in view.groups() if group.gid == self.gid] or (
            [self.gid_held_by] if self.gid_held_by else []
        )
        if holders and self.name not in holders:
            raise StepBlocked(
                f"gid {self.gid} belongs to the group {holders[0]!r}; choose another gid for all nodes, or move that"
                f" group to another one (groupmod -g)"
            )
        group = view.group(self.name)
        if group is not None and not group.local:
            raise StepBlocked(f"the group {self.name!r} comes from a directory; a local one would shadow it")
        if group is not None and group.gid != self.gid:
            raise StepBlocked(
                f"the group {self.name!r} has gid {group.gid}, not {self.gid}; put gid = {group.gid} into [account],"
                f" or change the group: groupmod -g {self.gid} {self.name}"
            )

    def _refuse_shell(self, view: NodeView) -> None:
        listed = view.text("/etc/shells")
        if listed is not None and self.shell not in listed.split("\n"):
            raise StepBlocked(
                f"{self.shell} is no login shell of this node (/etc/shells does not list it); install it, or choose"
                f" another shell in [account]"
            )


@register
@dataclass(frozen=True, kw_only=True)
class DirectoryAccount(Step):
    """An account of a directory: its numbers are verified, nothing is made."""

    kind: ClassVar[str] = "directory-account"
    name: str
    uid: int
    gid: int

    def describe(self) -> str:
        return f"account {self.name} of the directory with uid {self.uid} and gid {self.gid}"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = view.account(self.name)
        if account is None:
            raise StepBlocked(
                f"the directory knows no {self.name!r}: `getent passwd {self.name}` has to answer on this node"
            )
        if account.local:
            raise StepBlocked(
                f"{self.name!r} is a local account that shadows the directory's; remove it (userdel {self.name}),"
                f' or put source = "local" into [account]'
            )
        for what, found, wanted in (("uid", account.uid, self.uid), ("gid", account.gid, self.gid)):
            if found != wanted:
                raise StepBlocked(f"the directory gives {self.name!r} the {what} {found}, the answers say {wanted}")
        yield from ()
