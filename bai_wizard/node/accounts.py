"""Accounts, groups, memberships and password fields: the local files first, then the name service."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from typing import TypeVar

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.parse import is_whole, whole
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account, Group, Membership, Password
from bai_wizard.node.deadline import with_deadline
from bai_wizard.node.regular import open_foreign, read_all

# Timeout in seconds of a directory service (LDAP, SSSD) for one name.
NAME_SERVICE_DEADLINE = 5.0
# Maximum size of a database in bytes; a hundred thousand users take 8 MB.
LARGEST = 64 << 20
T = TypeVar("T")


def parse_passwd(text: str) -> tuple[Account, ...]:
    """Parse the accounts of a passwd file, in order; lines that are not entries (NIS markers, damage) are skipped."""
    result = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and is_whole(fields[2]) and is_whole(fields[3]):
            name, _, uid, gid, comment, home, shell = fields
            result.append(Account(name, whole(uid), whole(gid), comment, home, shell))
    return tuple(result)


def parse_group(text: str) -> dict[str, tuple[Group, tuple[str, ...]]]:
    """Parse the groups of a group file with their listed members, in order."""
    result: dict[str, tuple[Group, tuple[str, ...]]] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) == 4 and fields[0] and is_whole(fields[2]):
            members = tuple(name for name in fields[3].split(",") if name)
            result.setdefault(fields[0], (Group(fields[0], whole(fields[2])), members))
    return result


def parse_shadow(text: str) -> dict[str, Password]:
    """Parse the password fields of a shadow file, by user."""
    result: dict[str, Password] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 3 and fields[0]:
            day = whole(fields[2]) if is_whole(fields[2]) else None
            result.setdefault(fields[0], Password(Secret(fields[1]), day))
    return result


class AccountFiles:
    """The user databases of a node. `name_service` is true if the C library's lookups apply to this node."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._parsed: dict[str, tuple[tuple[int, int, int], object]] = {}
        self.name_service = not self._root

    def accounts(self) -> tuple[Account, ...]:
        """Return all local accounts."""
        return self._file("/etc/passwd", parse_passwd, ())

    def groups(self) -> tuple[Group, ...]:
        """Return all local groups."""
        return tuple(group for group, _ in self._groups().values())

    def account(self, name: str) -> Account | None:
        """Return a user by name: the local entry, otherwise the directory service's."""
        for account in self.accounts():
            if account.name == name:
                return account
        return self._directory_account(lambda: pwd.getpwnam(name), f"user {name}")

    def account_by_uid(self, uid: int) -> Account | None:
        """Return a user by UID: the local entry, otherwise the directory service's."""
        for account in self.accounts():
            if account.uid == uid:
                return account
        return self._directory_account(lambda: pwd.getpwuid(uid), f"uid {uid}")

    def group(self, name: str) -> Group | None:
        """Return a group by name: the local entry, otherwise the directory service's."""
        local = self._groups().get(name)
        if local is not None:
            return local[0]
        entry = self._ask(lambda: grp.getgrnam(name), f"group {name}")
        return Group(entry.gr_name, entry.gr_gid, local=False) if entry else None

    def membership(self, user: str, group: str) -> Membership | None:
        """Return the membership if the group lists the user. The primary group does not count."""
        local = self._groups().get(group)
        if local is None:
            entry = self._ask(lambda: grp.getgrnam(group), f"group {group}")
            members = tuple(entry.gr_mem) if entry else ()
        else:
            members = local[1]
        return Membership() if user in members else None

    def password(self, user: str) -> Password | None:
        """Return the password field of a local user. Raises StateUnknown without root."""
        fields: dict[str, Password] = self._file("/etc/shadow", parse_shadow, {})
        return fields.get(user)

    def is_empty_group(self, name: str) -> bool:
        """Whether the local group has no listed members."""
        return name in self._groups() and not self._groups()[name][1]

    def group_ids(self, account: Account) -> tuple[int, ...]:
        """Return the supplementary groups of an account."""
        listed = [group.gid for group, members in self._groups().values() if account.name in members]
        if self.name_service and not account.local:
            known = with_deadline(
                NAME_SERVICE_DEADLINE,
                f"groups of {account.name}",
                lambda: os.getgrouplist(account.name, account.gid),
            )
            listed += known
        return tuple(sorted({*listed} - {account.gid}))

    def members_by_gid(self, gid: int) -> tuple[str, ...]:
        """Return the members of a group, listed or by primary group, without root."""
        listed = [name for group, members in self._groups().values() if group.gid == gid for name in members]
        primary = [account.name for account in self.accounts() if account.gid == gid]
        return tuple(dict.fromkeys(name for name in (*listed, *primary) if name != "root"))

    def groups_by_gid(self, gid: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return every group with this GID and its listed members, local and from the directory service."""
        local = tuple((group.name, members) for group, members in self._groups().values() if group.gid == gid)
        entry = self._ask(lambda: grp.getgrgid(gid), f"gid {gid}")
        return (*local, (entry.gr_name, tuple(entry.gr_mem))) if entry else local

    def is_local_group(self, gid: int) -> bool:
        """Whether /etc/group has a group with this GID."""
        return any(group.gid == gid for group, _ in self._groups().values())

    def _groups(self) -> dict[str, tuple[Group, tuple[str, ...]]]:
        return self._file("/etc/group", parse_group, {})

    def _file(self, path: str, parse: Callable[[str], T], empty: T) -> T:
        try:
            with open_foreign(self._root + path) as file:
                state = os.fstat(file.fileno())
                stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
                cached = self._parsed.get(path)
                if cached is None or cached[0] != stamp:
                    # Names and comments may contain arbitrary bytes; they are preserved for undo.
                    cached = (stamp, parse(read_all(file, LARGEST).decode(errors="surrogateescape")))
                    self._parsed[path] = cached
        except FileNotFoundError:
            return empty
        except PermissionError as error:
            raise StateUnknown(f"{path}: needs root") from error
        except OSError as error:
            raise StateUnknown(f"{path}: {(error.strerror or str(error)).lower()}") from error
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

        return with_deadline(NAME_SERVICE_DEADLINE, f"{what} in the name service", answer)
