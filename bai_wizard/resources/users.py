"""Users, groups, memberships and password fields: each operation changes and undoes exactly our entries."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.operation import Change, Operation, Outcome, verb_of
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Group, Key, Membership, Password, State, States, Unpredictable, member_key
from bai_wizard.node.error_hints import changing
from bai_wizard.resources import performs, reads, refuses, sweeps

if TYPE_CHECKING:
    from bai_wizard.core.machine import NodeView
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine


# The password field of a newly created account: no password matches it.
NO_PASSWORD = Secret("*")


class AccountOperation(Operation, frozen=True):
    """A change made by a shadow tool, which writes passwd, shadow, group, gshadow, subuid and subgid in sequence."""

    is_atomic: ClassVar[bool] = False

    def recovery_steps(self, before: States, view: NodeView) -> tuple[Operation, ...]:
        # An entry either exists or not. One that matches neither the old nor the predicted state was changed by
        # others.
        key = self.keys()[0]
        inverse = self.inverse(before)
        if self.is_atomic or inverse is None or view.state(key) != self.after(before)[key]:
            return ()
        return (inverse,)


class AddGroup(AccountOperation, frozen=True):
    """A local group with an exact GID."""

    kind: ClassVar[str] = "add-group"
    name: str
    gid: int

    def keys(self) -> tuple[Key, ...]:
        return (Key("group", self.name),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Group(self.name, self.gid)}

    def inverse(self, before: States) -> Operation | None:
        return RemoveGroup(self.name) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"group {self.name}", verb_of(before, after), attributes=f"gid {self.gid}")


class RemoveGroup(AccountOperation, frozen=True):
    """Remove a local group."""

    kind: ClassVar[str] = "remove-group"
    noun: ClassVar[str] = "group"
    name: str

    def keys(self) -> tuple[Key, ...]:
        return (Key("group", self.name),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> Operation | None:
        state = before[self.keys()[0]]
        return AddGroup(state.name, state.gid) if isinstance(state, Group) else None

    def simulate(self, node: Simulation) -> States:
        _refuse_primary_group(self.name, node.states)
        return dict.fromkeys(_members_of(self.name, node))


class AddUser(AccountOperation, frozen=True):
    """A local user with exact IDs and a locked password (`*`); no home directory is created."""

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

    def inverse(self, before: States) -> Operation | None:
        return RemoveUser(self.name) if before[self.keys()[0]] is None else None

    def recovery_steps(self, before: States, view: NodeView) -> tuple[Operation, ...]:
        # An account that has been given a password or a group in the meantime is not removed.
        password = view.password(self.name)
        is_used = password is not None and password.hash != NO_PASSWORD
        is_used = is_used or any(view.is_member(self.name, group.name) for group in view.groups())
        return () if is_used else super().recovery_steps(before, view)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        attributes = f"uid {self.uid} gid {self.gid} home {self.home} shell {self.shell}"
        return Change(f"user {self.name}", verb_of(before, after), attributes=attributes)

    def simulate(self, node: Simulation) -> States:
        return {Key("password", self.name): Password(NO_PASSWORD, int(node.now // 86400))}


class RemoveUser(AccountOperation, frozen=True):
    """Remove a local user's entries. Its files stay, and so does the group of the same name unless `with_group`.

    To keep the group, root is added to it temporarily, hence the second key.
    """

    kind: ClassVar[str] = "remove-user"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("with_group",)
    name: str
    with_group: bool = False

    def keys(self) -> tuple[Key, ...]:
        user = Key("user", self.name)
        return (user, Key("group", self.name)) if self.with_group else (user, member_key("root", self.name))

    def after(self, before: States) -> Outcome:
        user, other = self.keys()
        return {user: None, other: None if self.with_group else before[other]}

    def recovery_steps(self, before: States, view: NodeView) -> tuple[Operation, ...]:
        user, keeper = self.keys()
        parts = super().recovery_steps(before, view)
        if self.with_group:
            group = before[keeper]
            is_lost = isinstance(group, Group) and view.state(keeper) is None
            return (AddGroup(group.name, group.gid), *parts) if is_lost and isinstance(group, Group) else parts
        if view.state(keeper) != before[keeper] and (parts or view.state(user) == before[user]):
            parts += (RemoveMember("root", self.name),)
        return parts

    def inverse(self, before: States) -> Operation | None:
        state = before[self.keys()[0]]
        if not isinstance(state, Account):
            return None
        return AddUser(state.name, state.uid, state.gid, state.comment, state.home, state.shell)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"{key.kind} {self.name}", "remove")

    def simulate(self, node: Simulation) -> States:
        lists = [key for key in node.states if key.kind == "member" and key.name.endswith(f":{self.name}")]
        if self.with_group:
            others = {key: state for key, state in node.states.items() if key != self.keys()[0]}
            _refuse_primary_group(self.name, others)
            lists += _members_of(self.name, node)
        return dict.fromkeys([Key("password", self.name), *lists])


class AddMember(AccountOperation, frozen=True):
    """List a user in a local group; takes effect at the user's next login."""

    kind: ClassVar[str] = "add-member"
    user: str
    group: str

    def keys(self) -> tuple[Key, ...]:
        return (member_key(self.user, self.group),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Membership()}

    def inverse(self, before: States) -> Operation | None:
        return RemoveMember(self.user, self.group) if before[self.keys()[0]] is None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"add {self.user} to group {self.group}", "modify")


class RemoveMember(AccountOperation, frozen=True):
    """Remove a user from a local group."""

    kind: ClassVar[str] = "remove-member"
    user: str
    group: str

    def keys(self) -> tuple[Key, ...]:
        return (member_key(self.user, self.group),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> Operation | None:
        return AddMember(self.user, self.group) if before[self.keys()[0]] is not None else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"remove {self.user} from group {self.group}", "modify")


class SetPassword(AccountOperation, frozen=True):
    """The password field of a user, as a hash. `changed` restores the day of the last change on undo."""

    kind: ClassVar[str] = "set-password"
    is_atomic: ClassVar[bool] = True  # the shadow file alone
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

    def is_satisfied(self, before: States) -> bool:
        # Two passwords are equal regardless of their day; during undo, the day matters.
        old = before[self.keys()[0]]
        return isinstance(old, Password) and old.hash == self.hash and self.changed in (None, old.changed)

    def inverse(self, before: States) -> Operation | None:
        old = before[self.keys()[0]]
        return SetPassword(self.user, old.hash, old.changed) if isinstance(old, Password) else None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        # Before and after are distinguished without being shown: two plans with different hashes must differ.
        # An account that this plan creates starts locked, which counts as having no password.
        old = before.hash.reveal() if isinstance(before, Password) else "*"
        from hashlib import sha256

        token = sha256(f"{old}\0{self.hash.reveal()}".encode()).hexdigest()[:16]
        locked = self.hash.reveal().startswith(("*", "!"))
        return Change(f"password of {self.user}", "modify", attributes="locked" if locked else "set", token=token)


def _members_of(group: str, node: Simulation) -> list[Key]:
    return [key for key in node.states if key.kind == "member" and key.name.startswith(f"{group}:")]


def _refuse_primary_group(name: str, states: Mapping[Key, State]) -> None:
    group = states.get(Key("group", name))
    accounts = [state for state in states.values() if isinstance(state, Account)]
    users = [state.name for state in accounts if isinstance(group, Group) and state.gid == group.gid]
    if users:
        raise StepFailed(f"group {name} is the primary group of {users[0]}")


reads("user")(lambda machine, name: machine.databases.account(name))
reads("group")(lambda machine, name: machine.databases.group(name))
reads("password")(lambda machine, name: machine.databases.password(name))


@reads("member")
def membership_state(machine: LocalMachine, name: str) -> Membership | None:
    """Return whether a group lists a user, named `GROUP:USER`."""
    group, _, user = name.partition(":")
    return machine.databases.membership(user, group)


@performs(AddGroup)
def add_group(machine: LocalMachine, operation: AddGroup, log: Log) -> None:
    """Add a local group with exactly this GID."""
    title = f"group {operation.name} was not added"
    _run(machine, log, title, "groupadd", "-g", str(operation.gid), "--", operation.name)


@performs(RemoveGroup)
def remove_group(machine: LocalMachine, operation: RemoveGroup, log: Log) -> None:
    """Remove a local group; groupdel refuses if it is the primary group of a user."""
    _run(machine, log, f"group {operation.name} was not removed", "groupdel", "--", operation.name)


@performs(AddUser)
def add_user(machine: LocalMachine, operation: AddUser, log: Log) -> None:
    """Add a locked user, without a home directory, skeleton files or a group of its own."""
    options = ["-M", "-N", "-p", "*", "-u", str(operation.uid), "-g", str(operation.gid), "-c", operation.comment]
    options += ["-d", operation.home, "-s", operation.shell, "--", operation.name]
    _run(machine, log, f"user {operation.name} was not added", "useradd", *options)


@performs(RemoveUser)
def remove_user(machine: LocalMachine, operation: RemoveUser, log: Log) -> None:
    """Remove a user's entries, and its group if requested; userdel refuses while the user has processes.

    userdel also removes an empty group of the same name (USERGROUPS_ENAB), which is a separate object here. To
    prevent that, root is a member of the group while userdel runs.
    """
    if operation.with_group:
        _userdel(machine, operation, log)
        if machine.group(operation.name) is not None:  # USERGROUPS_ENAB is off
            remove_group(machine, RemoveGroup(operation.name), log)
        return
    kept = operation.name if machine.databases.is_empty_group(operation.name) else ""
    if kept:
        _run(machine, log, f"group {kept} cannot be preserved", "gpasswd", "-a", "root", kept)
    try:
        _userdel(machine, operation, log)
    finally:
        if kept:
            _run(machine, log, f"root is still in group {kept}", "gpasswd", "-d", "root", kept)


@refuses(RemoveUser)
def refusal_of_removal(machine: LocalMachine, operation: RemoveUser) -> str:
    """Explain why an account that is in use is not removed; userdel refuses if it has processes."""
    from bai_wizard.resources.mounts import refusal_of_account

    account = machine.account(operation.name)
    return refusal_of_account(operation.name, account.uid) if account is not None else ""


# `passwd+` is the new file before its rename, `passwd.4711` a lock file before it gets its name, `passwd.lock` the
# lock of a process by PID, which after a reboot may be any process's: then every tool would wait for it in vain.
LEFT = re.compile(r"(?:passwd|shadow|group|gshadow|subuid|subgid)(?:\+|\.lock|\.[0-9]+)")
# As long as lckpwdf(3) and the tools themselves wait, in seconds.
LOCK_PATIENCE = 15.0


@sweeps(AccountOperation)
def sweep_databases(machine: LocalMachine, operation: AccountOperation) -> None:
    """Remove what interrupted shadow tools have left, under the lock that they hold, so that nothing is in use.

    Waits for a tool that outlived the wizard. Raises StepFailed if the lock cannot be acquired.
    """
    directory = f"{machine.prefix}/etc"
    with changing(directory), _lock(f"{directory}/.pwd.lock"):
        for name in os.listdir(directory):
            if LEFT.fullmatch(name):
                os.unlink(f"{directory}/{name}")


@contextmanager
def _lock(path: str) -> Iterator[None]:
    """Hold the lock of lckpwdf(3)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        limit = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > limit:
                    raise StepFailed(f"{path}: another program has held this lock for {LOCK_PATIENCE:g} s") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _userdel(machine: LocalMachine, operation: RemoveUser, log: Log) -> None:
    """Remove the account's entries; before that, stop systemd's manager of it if that runs nothing else."""
    from bai_wizard.node.process import succeed
    from bai_wizard.resources.mounts import processes_of

    title = f"user {operation.name} was not removed"
    account = None if machine.prefix else machine.account(operation.name)
    if account is not None:
        others, manager = processes_of(account.uid)
        if manager and not others:
            succeed(["systemctl", "stop", f"user@{account.uid}.service"], log, title=title)
    _run(machine, log, title, "userdel", "--", operation.name)


@performs(AddMember)
def add_member(machine: LocalMachine, operation: AddMember, log: Log) -> None:
    title = f"{operation.user} was not added to group {operation.group}"
    _run(machine, log, title, "gpasswd", "-a", operation.user, operation.group)


@performs(RemoveMember)
def remove_member(machine: LocalMachine, operation: RemoveMember, log: Log) -> None:
    title = f"{operation.user} did not leave group {operation.group}"
    _run(machine, log, title, "gpasswd", "-d", operation.user, operation.group)


@performs(SetPassword)
def set_password(machine: LocalMachine, operation: SetPassword, log: Log) -> None:
    """Set the password field. A hash goes through a pipe, never through an argument list that `ps` shows."""
    title = f"the password of {operation.user} was not set"
    field = operation.hash.reveal()
    if "\n" in field or ":" in field:
        raise ValueError("not a password field")
    if field.strip("*!"):
        line = Secret(f"{operation.user}:{field}\n")
        _run(machine, log, title, "chpasswd", "-e", input=line)
    else:
        # Only asterisks and exclamation marks, or empty: not a secret, and chpasswd does not accept an empty field.
        _run(machine, log, title, "usermod", "-p", field, "--", operation.user)
    if operation.changed is not None:
        title = f"the date of {operation.user}'s last password change was not restored"
        _run(machine, log, title, "chage", "-d", str(operation.changed), "--", operation.user)


def _run(
    machine: LocalMachine, log: Log, title: str, tool: str, *arguments: str, input: Secret | None = None
) -> None:
    """Run a shadow tool below the machine's root. Raises StepFailed with its last output."""
    from bai_wizard.node.process import succeed

    root = ["--root", machine.root] if machine.prefix else []
    succeed([tool, *root, *arguments], log, title=title, input=input)
