"""Users, groups, memberships and passwords, by the shadow tools: each does and undoes exactly our own entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.event import Log
from bai_wizard.core.primitives import (
    AddGroup,
    AddMember,
    AddUser,
    RemoveGroup,
    RemoveMember,
    RemoveUser,
    SetPassword,
)
from bai_wizard.core.secret import Secret
from bai_wizard.machine.perform.call import succeed

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers


def add_group(machine: LocalMachine, primitive: AddGroup, log: Log) -> None:
    """Adds a local group with exactly this gid."""
    argv = [*_tool(machine, "groupadd"), "-g", str(primitive.gid), "--", primitive.name]
    succeed(argv, log, title=f"group {primitive.name} was not added")


def remove_group(machine: LocalMachine, primitive: RemoveGroup, log: Log) -> None:
    """Removes a local group; groupdel refuses while it is somebody's primary group."""
    succeed([*_tool(machine, "groupdel"), "--", primitive.name], log, title=f"group {primitive.name} was not removed")


def add_user(machine: LocalMachine, primitive: AddUser, log: Log) -> None:
    """Adds a locked user: no home made, no skeleton copied, no group of its own added."""
    argv = [*_tool(machine, "useradd"), "-M", "-N", "-p", "*"]
    argv += ["-u", str(primitive.uid), "-g", str(primitive.gid), "-c", primitive.comment]
    argv += ["-d", primitive.home, "-s", primitive.shell, "--", primitive.name]
    succeed(argv, log, title=f"user {primitive.name} was not added")


def remove_user(machine: LocalMachine, primitive: RemoveUser, log: Log) -> None:
    """Removes a user's entries and nothing else; userdel refuses while it runs processes.

    userdel also drops an empty group of the same name (USERGROUPS_ENAB), which is a thing of its own to us.
    So the group is given a member, root, for as long as userdel runs.
    """
    kept = primitive.name if machine.databases.is_empty_group(primitive.name) else ""
    if kept:
        succeed([*_tool(machine, "gpasswd"), "-a", "root", kept], log, title=f"group {kept} cannot be kept")
    try:
        succeed(
            [*_tool(machine, "userdel"), "--", primitive.name], log, title=f"user {primitive.name} was not removed"
        )
    finally:
        if kept:
            succeed([*_tool(machine, "gpasswd"), "-d", "root", kept], log, title=f"root is still in group {kept}")


def add_member(machine: LocalMachine, primitive: AddMember, log: Log) -> None:
    """Lists a user, local or from a directory, in a local group."""
    argv = [*_tool(machine, "gpasswd"), "-a", primitive.user, primitive.group]
    succeed(argv, log, title=f"{primitive.user} did not join group {primitive.group}")


def remove_member(machine: LocalMachine, primitive: RemoveMember, log: Log) -> None:
    """Takes a user off the list of a local group."""
    argv = [*_tool(machine, "gpasswd"), "-d", primitive.user, primitive.group]
    succeed(argv, log, title=f"{primitive.user} did not leave group {primitive.group}")


def set_password(machine: LocalMachine, primitive: SetPassword, log: Log) -> None:
    """Sets the password field. A hash goes through a pipe, never through an argument list that `ps` shows."""
    title = f"the password of {primitive.user} was not set"
    field = primitive.hash.reveal()
    if "\n" in field or ":" in field:
        raise ValueError("not a password field")
    if field.strip("*!"):
        line = Secret(f"{primitive.user}:{field}\n")
        succeed([*_tool(machine, "chpasswd"), "-e"], log, title=title, feed=line)
    else:
        # Only stars and exclamation marks, or nothing: no secret, and chpasswd takes no empty field.
        succeed([*_tool(machine, "usermod"), "-p", field, "--", primitive.user], log, title=title)
    if primitive.changed is not None:
        argv = [*_tool(machine, "chage"), "-d", str(primitive.changed), "--", primitive.user]
        succeed(argv, log, title=f"the day of {primitive.user}'s last password change was not restored")


def _tool(machine: LocalMachine, name: str) -> list[str]:
    """The tool, working below the machine's root."""
    return [name, "--root", machine.root] if machine.prefix else [name]


PERFORMERS: Performers = {
    AddGroup.kind: add_group,
    RemoveGroup.kind: remove_group,
    AddUser.kind: add_user,
    RemoveUser.kind: remove_user,
    AddMember.kind: add_member,
    RemoveMember.kind: remove_member,
    SetPassword.kind: set_password,
}
