"""Users, groups, memberships and password fields: inverse operations on our own entries, never an old file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import member_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Group, Key, Membership, Password, State, States, Unpredictable

if TYPE_CHECKING:
    from bai_wizard.core.view import NodeView

# The field of an account that this wizard has just made: no password fits it.
NO_PASSWORD = Secret("*")


class AccountPrimitive(BasePrimitive):
    """A change by one of the shadow tools, which write passwd, shadow, group, gshadow, subuid and subgid in turn."""

    at_once: ClassVar[bool] = False

    def way_back(self, before: States, view: NodeView) -> tuple[BasePrimitive, ...]:
        # A line is there or not. One that is neither as before nor as promised is somebody else's.
        key = self.keys()[0]
        inverse = self.inverse(before)
        if self.at_once or inverse is None or view.state(key) != self.after(before)[key]:
            return ()
        return (inverse,)


@dataclass(frozen=True)
class AddGroup(AccountPrimitive):
    """A local group with an exact gid."""

    kind: ClassVar[str] = "add-group"
    name: str
    gid: int

    def keys(self) -> tuple[Key, ...]:
        return (Key("group", self.name),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Group(self.name, self.gid)}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveGroup(self.name) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"group {self.name}", verb_of(before, after), attributes=f"gid {self.gid}")


@dataclass(frozen=True)
class RemoveGroup(AccountPrimitive):
    """Removes a local group."""

    kind: ClassVar[str] = "remove-group"
    name: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("group", self.name),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> BasePrimitive | None:
        state = before[self.keys()[0]]
        return AddGroup(state.name, state.gid) if isinstance(state, Group) else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"group {self.name}", "remove")


@dataclass(frozen=True)
class AddUser(AccountPrimitive):
    """A local user with exact ids, a locked password (`*`) and no home directory made."""

    kind: ClassVar[str] = "add-user"
    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("user", self.name),)

    def after(self, before: States) -> Outcome:
        account = Account(self.name, self.uid, self.gid, self.comment, self.home, self.shell)
        return {self.keys()[0]: account}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveUser(self.name) if before[self.keys()[0]] is None else None

    def way_back(self, before: States, view: NodeView) -> tuple[BasePrimitive, ...]:
        # Whom somebody has given a password or a group in the meantime is not taken away again.
        password = view.password(self.name)
        is_used = password is not None and password.hash != NO_PASSWORD
        is_used = is_used or any(view.is_member(self.name, group.name) for group in view.groups())
        return () if is_used else super().way_back(before, view)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        attributes = f"uid {self.uid} gid {self.gid} home {self.home} shell {self.shell}"
        return Change(f"user {self.name}", verb_of(before, after), attributes=attributes)


@dataclass(frozen=True)
class RemoveUser(AccountPrimitive):
    """Removes a local user's entries; its files stay, and so does the group of the same name.

    What keeps the group is that root is in it for a moment, hence the second key.
    """

    kind: ClassVar[str] = "remove-user"
    name: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("user", self.name), member_key("root", self.name))

    def after(self, before: States) -> Outcome:
        user, keeper = self.keys()
        return {user: None, keeper: before[keeper]}

    def way_back(self, before: States, view: NodeView) -> tuple[BasePrimitive, ...]:
        user, keeper = self.keys()
        parts = super().way_back(before, view)
        if view.state(keeper) != before[keeper] and (parts or view.state(user) == before[user]):
            parts += (RemoveMember("root", self.name),)
        return parts

    def inverse(self, before: States) -> BasePrimitive | None:
        state = before[self.keys()[0]]
        if not isinstance(state, Account):
            return None
        return AddUser(state.name, state.uid, state.gid, state.comment, state.home, state.shell)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"user {self.name}", "remove")


@dataclass(frozen=True)
class AddMember(AccountPrimitive):
    """Lists a user in a local group; in effect at the user's next login."""

    kind: ClassVar[str] = "add-member"
    user: str
    group: str

    def keys(self) -> tuple[Key, ...]:
        return (member_key(self.user, self.group),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Membership()}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemoveMember(self.user, self.group) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.user} joins group {self.group}", "modify")


@dataclass(frozen=True)
class RemoveMember(AccountPrimitive):
    """Takes a user off the list of a local group."""

    kind: ClassVar[str] = "remove-member"
    user: str
    group: str

    def keys(self) -> tuple[Key, ...]:
        return (member_key(self.user, self.group),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return AddMember(self.user, self.group) if before[self.keys()[0]] is not None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{self.user} leaves group {self.group}", "modify")


@dataclass(frozen=True)
class SetPassword(AccountPrimitive):
    """The password field of a user, by hash. `changed` restores the day of the last change on undo."""

    kind: ClassVar[str] = "set-password"
    at_once: ClassVar[bool] = True  # the shadow file alone
    user: str
    hash: Secret
    changed: int | None = None

    def keys(self) -> tuple[Key, ...]:
        return (Key("password", self.user),)

    def after(self, before: States) -> Outcome:
        old = before[self.keys()[0]]
        if isinstance(old, Password) and old.hash == self.hash and self.changed in (None, old.changed):
            return {self.keys()[0]: old}
        return {self.keys()[0]: Password(self.hash, self.changed)}

    def holds(self, before: States) -> bool:
        # Two passwords are equal whatever their day; on the way back the day counts.
        old = before[self.keys()[0]]
        return isinstance(old, Password) and old.hash == self.hash and self.changed in (None, old.changed)

    def inverse(self, before: States) -> BasePrimitive | None:
        old = before[self.keys()[0]]
        return SetPassword(self.user, old.hash, old.changed) if isinstance(old, Password) else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        # Before and after are told apart without being shown: two plans with other hashes must differ.
        # An account that this plan makes starts locked, which counts as having no password.
        old = before.hash.reveal() if isinstance(before, Password) else "*"
        from hashlib import sha256

        token = sha256(f"{old}\0{self.hash.reveal()}".encode()).hexdigest()[:16]
        locked = self.hash.reveal().startswith(("*", "!"))
        return Change(f"password of {self.user}", "modify", attributes="locked" if locked else "set", token=token)
