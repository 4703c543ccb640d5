"""Who else can change a path: through its owner, mode, access control list, group, parent directories, or links.

Standard library only and outside every layer: the code tree is checked with this before anything else is imported.
Checked are POSIX permissions, POSIX access control lists and NFSv4 access control lists. Not checked: what a file
server or the owner of a block device does, and processes that already have a file open.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Collection, Iterator
from struct import error as struct_error
from struct import iter_unpack, unpack_from
from typing import NamedTuple, Protocol

MAX_LINKS = 40
ACL = "system.posix_acl_access"
NFS4_ACL = "system.nfs4_acl"
# linux/posix_acl_xattr.h: entries of (tag, permissions, ID) after a version number.
_USER, _GROUP_OWNER, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10
_WRITE = 2
# RFC 8881, section 6.2.1: permissions to change a file or directory, or its access control list.
_NFS4_ALLOW, _NFS4_INHERIT_ONLY, _NFS4_IS_GROUP = 0, 0x08, 0x40
_NFS4_WRITE = 0x02 | 0x04 | 0x40 | 0x1_0000 | 0x4_0000 | 0x8_0000
# Lower GIDs belong to packages (SYS_GID_MAX in login.defs), except `users`, the group of many accounts.
FIRST_SITE_GID = 1000
_USERS_GID = 100


def sudo_uid() -> int | None:
    """The UID of the user who called sudo; None for anyone but root, and for root without sudo."""
    text = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    is_id = text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**32 - 1
    return (int(text) or None) if is_id else None


class Untrusted(Exception):
    """Users other than the trusted ones can change a path."""

    def __init__(self, path: str, who: str) -> None:
        super().__init__(path, who)
        self.path = path
        self.who = who


class User(Protocol):
    """The relevant fields of an account."""

    @property
    def name(self) -> str: ...
    @property
    def gid(self) -> int: ...


class Accounts(Protocol):
    """The user databases of a node."""

    def account_by_uid(self, uid: int, /) -> User | None: ...
    def groups_by_gid(self, gid: int, /) -> tuple[tuple[str, tuple[str, ...]], ...]: ...
    def is_local_group(self, gid: int, /) -> bool: ...
    def members_by_gid(self, gid: int, /) -> tuple[str, ...]: ...


class Owner(str):
    """The owner of a path, as text."""


class Everyone(str):
    """All users, as text."""


EVERYONE = Everyone("everyone")


def is_unused_group(gid: int, accounts: Accounts) -> bool:
    """Whether a group belongs to a package and has no members, such as `staff`: only root can use it.

    Site groups do not qualify: a directory service may have members that it does not list.
    """
    return (
        0 < gid < FIRST_SITE_GID
        and gid != _USERS_GID
        and accounts.is_local_group(gid)
        and not any(members for _, members in accounts.groups_by_gid(gid))
        and not accounts.members_by_gid(gid)
    )


class Writers:
    """Check paths for root and some trusted users (UIDs); `accounts` are the node's user databases."""

    def __init__(self, users: Collection[int], accounts: Accounts) -> None:
        self.users = frozenset({0, *users})
        self._accounts = accounts
        self._groups: dict[int, str] = {}
        self._plain: set[int] = set()

    def writers(self, path: str | int) -> str:
        """Who else can change a path (not followed) or an open descriptor, as text; empty if no one can.

        A sticky directory is fine if its owner is trusted: its entries are checked separately.
        """
        state = os.stat(path) if isinstance(path, int) else os.lstat(path)
        if state.st_uid not in self.users:
            return Owner(f"its owner {self._name(state.st_uid)}")
        listed = self._listed_nfs4(path, state)
        if listed:
            return listed
        if stat.S_ISLNK(state.st_mode) or (stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX):
            return ""
        if state.st_mode & stat.S_IWOTH:
            return EVERYONE
        # With an access control list, the group bits are its mask: if unset, no entry grants write access.
        if not state.st_mode & stat.S_IWGRP:
            return ""
        return self._listed(_acl(path), state.st_gid)

    def _listed_nfs4(self, path: str | int, state: os.stat_result) -> str:
        """Who gets write access from an NFSv4 access control list; the mode does not show all of them."""
        if state.st_dev in self._plain or stat.S_ISLNK(state.st_mode):
            return ""
        acl = _xattr(path, NFS4_ACL)
        if acl is None:
            self._plain.add(state.st_dev)
            return ""
        try:
            entries = list(_nfs4_entries(acl))
        except (ValueError, struct_error):
            return "unknown users (its NFSv4 access control list cannot be read)"
        for kind, flags, mask, who in entries:
            if kind != _NFS4_ALLOW or flags & _NFS4_INHERIT_ONLY or not mask & _NFS4_WRITE or who == "OWNER@":
                continue
            if who == "EVERYONE@":
                return EVERYONE
            if who == "GROUP@":
                group = self._group(state.st_gid)
            elif flags & _NFS4_IS_GROUP:
                group = f"the group {who}"
            else:
                group = "" if self._is_trusted_name(who) else f"the user {who}"
            if group:
                return f"{group} (NFSv4 access control list)"
        return ""

    def _is_trusted_name(self, who: str) -> bool:
        """`who` is a name with the server's domain, or a UID."""
        accounts = [self._accounts.account_by_uid(uid) for uid in self.users]
        names = {"root", *(account.name for account in accounts if account is not None), *map(str, self.users)}
        return who.partition("@")[0] in names

    def _listed(self, acl: bytes, gid: int) -> str:
        """Who gets write access from the group bits: the owning group, or the entries of an access control list."""
        if not acl:
            return self._group(gid)
        entries: list[tuple[int, int, int]] = [(tag, bits, who) for tag, bits, who in iter_unpack("<HHI", acl[4:])]
        mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 7)
        for tag, permissions, who in entries:
            if not permissions & mask & _WRITE:
                continue
            if tag == _USER and who not in self.users:
                return f"the user {self._name(who)} (access control list)"
            if tag in (_GROUP_OWNER, _GROUP):
                group = self._group(gid if tag == _GROUP_OWNER else who)
                if group:
                    return f"{group} (access control list)"
        return ""

    def _group(self, gid: int) -> str:
        """The group as text; empty if it contains only trusted users (a private group) or no members."""
        if gid not in self._groups:
            alone = self._is_private(gid) or is_unused_group(gid, self._accounts)
            self._groups[gid] = "" if alone else f"the group {self._group_name(gid)}"
        return self._groups[gid]

    def _is_private(self, gid: int) -> bool:
        accounts = [self._accounts.account_by_uid(uid) for uid in self.users]
        names = {account.name for account in accounts if account is not None}
        owners = [account.name for account in accounts if account is not None and account.gid == gid]
        known = self._accounts.groups_by_gid(gid)
        return (
            any(name in owners for name, _ in known)
            and all(member in names for _, members in known for member in members)
            and all(name in names for name in self._accounts.members_by_gid(gid))
        )

    def _name(self, uid: int) -> str:
        account = self._accounts.account_by_uid(uid)
        return f"{account.name} (UID {uid})" if account is not None else f"with UID {uid}"

    def _group_name(self, gid: int) -> str:
        return next((name for name, _ in self._accounts.groups_by_gid(gid)), f"with GID {gid}")


class TrustedPaths(Writers):
    """Check whole paths and trees; each directory once."""

    def __init__(
        self, users: Collection[int], accounts: Accounts | None = None, *, ignored: tuple[str, ...] = ()
    ) -> None:
        """`ignored` are file name suffixes that are not checked in trees."""
        super().__init__(users, accounts or NodeAccounts())
        self._ignored = ignored
        self._real: dict[str, str | None] = {}
        self._trees: set[tuple[str, object]] = set()

    def judge(self, path: str) -> str | None:
        """The real path of an absolute path; None if it does not exist and only trusted users could create it.

        Checks the path, every parent directory, and every link on the way with its target. Raises Untrusted.
        """
        return self._resolve(path, MAX_LINKS)

    def judge_tree(self, directory: str, wanted: Callable[[os.DirEntry[str]], bool] | None = None) -> None:
        """Check a directory and everything below it, links with their targets. Raises Untrusted.

        `wanted` selects among the entries of `directory` itself. A directory in which others could create names is
        rejected, even if it is sticky.
        """
        real = self.judge(directory)
        pending = [(real, wanted, False)] if real is not None and os.path.isdir(real) else []
        while pending:
            here, choose, is_judged = pending.pop()
            if (here, choose) not in self._trees:
                self._trees.add((here, choose))
                pending += [(below, None, done) for below, done in self._judge_entries(here, choose, is_judged)]

    def _judge_entries(
        self, directory: str, wanted: Callable[[os.DirEntry[str]], bool] | None, is_judged: bool
    ) -> Iterator[tuple[str, bool]]:
        """Check a directory and its entries; yields its subdirectories, and whether each has been checked."""
        if not is_judged:
            self._refuse_creators(directory)
        try:
            entries = os.scandir(directory)
        except PermissionError as error:
            raise Untrusted(directory, "unknown users: it cannot be read") from error
        users, ignored, plain = self.users, self._ignored, self._plain
        with entries:
            for entry in entries:
                if (ignored and entry.name.endswith(ignored)) or (wanted is not None and not wanted(entry)):
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # replaced meanwhile, as Python does with the files it compiles
                kind = state.st_mode & 0o170000
                if kind == stat.S_IFLNK:
                    real = self.judge(entry.path)
                    if real is not None and os.path.isdir(real):
                        yield real, False
                    continue
                # The common case costs one stat.
                others = state.st_mode & 0o022 or state.st_uid not in users or state.st_dev not in plain
                if others:
                    self._refuse(entry.path)
                if kind == stat.S_IFDIR:
                    yield entry.path, not others

    def _resolve(self, path: str, links: int) -> str | None:
        if path not in self._real:
            above, _, name = path.rstrip("/").rpartition("/")
            if not name and not above:
                self._refuse("/")
                self._real[path] = "/"
            else:
                real = self._resolve(above or "/", links)
                if real is not None and name == "..":
                    real = os.path.dirname(real)
                elif real is not None and name not in ("", "."):
                    real = self._step(real, name, links)
                self._real[path] = real
        return self._real[path]

    def _step(self, directory: str, name: str, links: int) -> str | None:
        path = os.path.join(directory, name)
        try:
            self._refuse(path)
            target = os.readlink(path)
        except FileNotFoundError:
            self._refuse_creators(directory)
            return None
        except NotADirectoryError:
            return None
        except PermissionError as error:
            raise Untrusted(path, "unknown users: it cannot be examined") from error
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return path  # not a link
        if links == 0:
            raise Untrusted(path, "unknown users: it contains too many links")
        return self._resolve(os.path.join(directory, target), links - 1)

    def _refuse(self, path: str) -> None:
        who = self.writers(path)
        if who:
            raise Untrusted(path, who)

    def _refuse_creators(self, directory: str) -> None:
        """Reject a directory in which others could create a name that does not exist."""
        self._refuse(directory)
        state = os.stat(directory)
        if state.st_mode & stat.S_ISVTX and state.st_mode & 0o022:
            who = EVERYONE if state.st_mode & stat.S_IWOTH else self._listed(_acl(directory), state.st_gid)
            if who:
                raise Untrusted(directory, who)


class LocalUser(NamedTuple):
    """An entry of passwd."""

    name: str
    gid: int


class NodeAccounts:
    """/etc/passwd and /etc/group, and the name service for entries missing there."""

    def account_by_uid(self, uid: int) -> LocalUser | None:
        """The user with this UID."""
        for fields in _entries("/etc/passwd", 7):
            if fields[2] == str(uid) and fields[3].isdecimal():
                return LocalUser(fields[0], int(fields[3]))
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return None
        return LocalUser(entry.pw_name, entry.pw_gid)

    def groups_by_gid(self, gid: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Every group with this GID and its listed members: the local ones, and the name service's."""
        result = [fields for fields in _entries("/etc/group", 4) if fields[2] == str(gid)]
        local = tuple((fields[0], tuple(name for name in fields[3].split(",") if name)) for fields in result)
        try:
            entry = grp.getgrgid(gid)
        except KeyError:
            return local
        return (*local, (entry.gr_name, tuple(entry.gr_mem)))

    def is_local_group(self, gid: int) -> bool:
        """Whether /etc/group has a group with this GID."""
        return any(fields[2] == str(gid) for fields in _entries("/etc/group", 4))

    def members_by_gid(self, gid: int) -> tuple[str, ...]:
        """The local users whose primary group this is."""
        return tuple(fields[0] for fields in _entries("/etc/passwd", 7) if fields[3] == str(gid))


def _entries(path: str, count: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":") for line in file]
    except FileNotFoundError:
        return []
    return [fields for fields in lines if len(fields) == count]


def _acl(path: str | int) -> bytes:
    """The access control list, possibly empty. Raises OSError if it cannot be read."""
    return _xattr(path, ACL) or b""


def _xattr(path: str | int, name: str) -> bytes | None:
    """An extended attribute: empty if it is not set, None if the file system does not support it."""
    try:
        # A descriptor opened with O_PATH does not support attribute calls.
        return os.getxattr(f"/proc/self/fd/{path}" if isinstance(path, int) else path, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno == errno.EOPNOTSUPP:
            return None
        raise


def _nfs4_entries(acl: bytes) -> Iterator[tuple[int, int, int, str]]:
    """Type, flags, mask and name of each entry, in the XDR of RFC 8881. Raises ValueError or struct.error."""
    if not acl:
        return
    (count,) = unpack_from(">I", acl, 0)
    at = 4
    for _ in range(count):
        kind, flags, mask, length = unpack_from(">IIII", acl, at)
        name = acl[at + 16 : at + 16 + length]
        if len(name) != length:
            raise ValueError("the list ends early")
        yield kind, flags, mask, name.decode(errors="surrogateescape")
        at += 16 + (length + 3) // 4 * 4
