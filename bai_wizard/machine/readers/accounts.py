"""Accounts, groups, memberships and password fields: the local files first, then the name service."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from typing import TypeVar

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Group, Membership, Password
from bai_wizard.machine.deadline import within

# Seconds that a directory service (LDAP, SSSD) may take for one name.
NAME_SERVICE_DEADLINE = 5.0
T = TypeVar("T")


def parse_passwd(text: str) -> tuple[Account, ...]:
    """The accounts of a passwd file, in its order; lines that are no entry (NIS markers, damage) are left out."""
    found = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and fields[2].isdecimal() and fields[3].isdecimal():
            name, _, uid, gid, comment, home, shell = fields
            found.append(Account(name, int(uid), int(gid), comment, home, shell))
    return tuple(found)


def parse_group(text: str) -> dict[str, tuple[Group, tuple[str, ...]]]:
    """The groups of a group file with their listed members, in its order."""
    found: dict[str, tuple[Group, tuple[str, ...]]] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 4 and fields[0] and fields[2].isdecimal():
            members = tuple(name for name in fields[3].split(",") if name)
            found.setdefault(fields[0], (Group(fields[0], int(fields[2])), members))
    return found


def parse_shadow(text: str) -> dict[str, Password]:
    """The password fields of a shadow file by user."""
    found: dict[str, Password] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 3 and fields[0]:
            day = int(fields[2]) if fields[2].isdecimal() else None
            found.setdefault(fields[0], Password(Secret(fields[1]), day))
    return found


class AccountFiles:
    """The user databases of a node. `name_service` is true where the C library's lookups speak for this node."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._parsed: dict[str, tuple[tuple[int, int, int], object]] = {}
        self.name_service = not self._root

    def accounts(self) -> tuple[Account, ...]:
        """Every local account."""
        return self._file("/etc/passwd", parse_passwd, ())

    def groups(self) -> tuple[Group, ...]:
        """Every local group."""
        return tuple(group for group, _ in self._groups().values())

    def account(self, name: str) -> Account | None:
        """A user by name: the local entry, else the directory's."""
        for account in self.accounts():
            if account.name == name:
                return account
        return self._directory_account(lambda: pwd.getpwnam(name), f"user {name}")

    def account_by_uid(self, uid: int) -> Account | None:
        """A user by id: the local entry, else the directory's."""
        for account in self.accounts():
            if account.uid == uid:
                return account
        return self._directory_account(lambda: pwd.getpwuid(uid), f"uid {uid}")

    def group(self, name: str) -> Group | None:
        """A group by name: the local entry, else the directory's."""
        local = self._groups().get(name)
        if local is not None:
            return local[0]
        entry = self._ask(lambda: grp.getgrnam(name), f"group {name}")
        return Group(entry.gr_name, entry.gr_gid, local=False) if entry else None

    def membership(self, user: str, group: str) -> Membership | None:
        """That a group lists a user. The primary group does not count."""
        local = self._groups().get(group)
        if local is None:
            entry = self._ask(lambda: grp.getgrnam(group), f"group {group}")
            members = tuple(entry.gr_mem) if entry else ()
        else:
            members = local[1]
        return Membership() if user in members else None

    def password(self, user: str) -> Password | None:
        """The password field of a local user. Raises CannotTell without root."""
        fields: dict[str, Password] = self._file("/etc/shadow", parse_shadow, {})
        return fields.get(user)

    def is_empty_group(self, name: str) -> bool:
        """True for a local group that lists nobody."""
        return name in self._groups() and not self._groups()[name][1]

    def group_ids(self, account: Account) -> tuple[int, ...]:
        """The supplementary groups of an account."""
        listed = [group.gid for group, members in self._groups().values() if account.name in members]
        if self.name_service and not account.local:
            known = within(
                NAME_SERVICE_DEADLINE,
                f"groups of {account.name}",
                lambda: os.getgrouplist(account.name, account.gid),
            )
            listed += known
        return tuple(sorted({*listed} - {account.gid}))

    def members_by_gid(self, gid: int) -> tuple[str, ...]:
        """Who is in a group, listed or by primary group; root does not count."""
        listed = [name for group, members in self._groups().values() if group.gid == gid for name in members]
        primary = [account.name for account in self.accounts() if account.gid == gid]
        return tuple(dict.fromkeys(name for name in (*listed, *primary) if name != "root"))

    def _groups(self) -> dict[str, tuple[Group, tuple[str, ...]]]:
        return self._file("/etc/group", parse_group, {})

    def _file(self, path: str, parse: Callable[[str], T], empty: T) -> T:
        try:
            with open(self._root + path, "rb") as file:
                state = os.fstat(file.fileno())
                stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
                cached = self._parsed.get(path)
                if cached is None or cached[0] != stamp:
                    # Names and comments may carry any bytes; they are kept for the way back.
                    cached = (stamp, parse(file.read().decode(errors="surrogateescape")))
                    self._parsed[path] = cached
        except FileNotFoundError:
            return empty
        except PermissionError as error:
            raise CannotTell(f"{path}: needs root") from error
        value = cached[1]
        assert isinstance(value, type(empty))
        return value

    def _directory_account(self, call: Callable[[], pwd.struct_passwd], what: str) -> Account | None:
        entry = self._ask(call, what)
        if entry is None:
            return None
        return Account(
            entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_gecos, entry.pw_dir, entry.pw_shell, local=False
        )

    def _ask(self, call: Callable[[], T], what: str) -> T | None:
        if not self.name_service:
            return None

        def answer() -> T | None:
            try:
                return call()
            except KeyError:
                return None

        return within(NAME_SERVICE_DEADLINE, f"{what} in the name service", answer)
