"""Steps of the Account page: home directory, SSH keys and sudo access; and rules of sudo against them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Below, Operation, Scope, above
from bai_wizard.core.parse import comment, ssh_key_line, sudoers_user, whole
from bai_wizard.core.paths import refuse_system, refuse_taken
from bai_wizard.core.state import Account, file_key, member_key
from bai_wizard.core.step import Effect, Step
from bai_wizard.pages.account.login_defs import login_defs, number_in
from bai_wizard.pages.node_state import is_package_before
from bai_wizard.resources.files import MakeDirectory, MakeLink, RemovePath, WriteFile
from bai_wizard.resources.users import AddMember, RemoveMember
from bai_wizard.steps.accounts import restore_ownership, then
from bai_wizard.steps.files import Directory

SKELETON = "/etc/skel"
# Where the system defines the mode of a new home. adduser reads names in either case, and values with or without
# quotes; the last line decides.
ADDUSER_CONF = "/etc/adduser.conf"
LOGIN_DEFS = "/etc/login.defs"
_ADDUSER_MODE = re.compile(
    r"""^[ \t]*dir_mode[ \t]*=[ \t]*(["']?)([0-7]{3,4})\1[ \t\r]*$""", re.MULTILINE | re.IGNORECASE
)
# The default in Ubuntu.
DEFAULT_MODE = 0o750
WRITABLE_BY_OTHERS = 0o022
USED_BY_ITSELF = 0o700
# Content of a home that does not count as in use: caches (version 0.1.0 left uv's), and a file system's own.
LEFT_OVER = (".cache", "lost+found")


class Home(Step, frozen=True, kw_only=True):
    """The account's home directory: owned by it, not writable for others (sshd would otherwise refuse keys).

    The skeleton is copied while the home contains only skeleton files and what programs leave there, so the next run
    completes an interrupted copy, and a home in use is left alone. `fresh`: this plan adds the account, so anything
    in the home was left by an earlier one, and missing skeleton files are added.
    """

    kind: ClassVar[str] = "home"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("fresh",)
    copies_from: ClassVar[str] = SKELETON
    account: str
    home: str
    fresh: bool = False

    def describe(self) -> str:
        return f"create {self.home}/ as the home of {self.account}"

    def scope(self) -> tuple[Scope, ...]:
        return (*above(self.home), Below(file_key(self.home)))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = _account(view, self.account)
        existing = view.entry(self.home)
        if existing is not None and existing.type == "directory":
            self._refuse_owner(existing.uid, account, view)
        if existing is None or existing.type == "directory":
            refuse_taken(view, self.home, self.account, "home in [account]")
        mode = _home_mode(view) if existing is None else existing.mode & ~WRITABLE_BY_OTHERS | USED_BY_ITSELF
        yield from Directory(id=self.id, path=self.home, owner=self.account, mode=mode).operations(view)
        present = set(view.names(self.home))
        if self.fresh or present <= {*view.names(SKELETON), *LEFT_OVER}:
            yield from _copy(view, SKELETON, self.home, account)

    def _refuse_owner(self, uid: int, account: Account, view: NodeView) -> None:
        """Raise StepBlocked for the home of another account, including one known only to a directory service."""
        if uid not in (0, account.uid, *(other.uid for other in view.accounts())) and view.names(self.home):
            raise StepBlocked(
                f"{self.home} contains files and belongs to UID {uid}, which no local account has. If they are"
                f" {self.account}'s own, give them to it (chown -R {self.account}: {self.home}); otherwise choose"
                " another home in [account]"
            )
        for other in view.accounts():
            if other.uid == uid and uid != 0 and other.name != self.account:
                raise StepBlocked(
                    f"{self.home} belongs to {other.name!r}; move it away, or choose another home in [account]"
                )


def _account(view: NodeView, name: str) -> Account:
    account = view.account(name)
    if account is None:
        raise StepBlocked(f"account {name!r} does not exist on this node")
    return account


def _home_mode(view: NodeView) -> int:
    """The mode of a new home as configured on the system, but never writable by others.

    A mode that denies the account anything is a mistake: shadow reads 700, without a leading 0, as decimal.
    """
    adduser = _ADDUSER_MODE.findall(_text(view, ADDUSER_CONF))
    if adduser:
        return whole(adduser[-1][1], 8) & 0o777 & ~WRITABLE_BY_OTHERS
    entry = view.entry(LOGIN_DEFS)
    is_old = is_package_before(view, "passwd", (4, 17))
    values = login_defs(entry.content or b"" if entry is not None else b"", before_4_17=is_old)
    mode = number_in(values, "HOME_MODE", before_4_17=is_old)
    umask = number_in(values, "UMASK", before_4_17=is_old) if mode is None else None
    if mode is None:
        # useradd would use 0777 & ~UMASK, but UMASK is the default for all files and was never meant to open homes.
        mode = DEFAULT_MODE & ~(umask or 0)
    return (mode if mode & USED_BY_ITSELF == USED_BY_ITSELF else DEFAULT_MODE) & 0o777 & ~WRITABLE_BY_OTHERS


def _copy(view: NodeView, source: str, target: str, owner: Account) -> Iterator[Operation]:
    """Yield what is missing in `target`; an existing file is the account's own."""
    for name in view.names(source):
        entry = view.entry(f"{source}/{name}")
        path = f"{target}/{name}"
        if entry is None:
            continue
        if entry.type == "directory":
            if view.entry(path) is None:
                yield MakeDirectory(path, owner.uid, owner.gid, entry.mode)
            yield from _copy(view, f"{source}/{name}", path, owner)
        elif view.entry(path) is not None:
            continue
        elif entry.type == "link":
            yield MakeLink(path, entry.target or "", owner.uid, owner.gid)
        elif entry.type == "file":
            yield WriteFile(path, entry.content or b"", owner.uid, owner.gid, entry.mode)


# Type and body of a key; the options before it and the comment after it do not make it a different key.
_KEY = re.compile(rb"(?:^|\s)((?:ssh|ecdsa|sk)-[a-z0-9@.-]+)\s+([A-Za-z0-9+/]{40,}={0,3})")


def body_of(line: bytes) -> bytes | None:
    """Return the encoded body, which identifies a key; None for a comment or a line without a key."""
    result = None if line.lstrip().startswith(b"#") else _KEY.search(line)
    return result.group(2) if result else None


class AuthorizedKeys(Step, frozen=True, kw_only=True):
    """Add the missing keys to ~/.ssh/authorized_keys (0600 below 0700, owned by the account)."""

    kind: ClassVar[str] = "authorized-keys"
    account: str
    home: str
    keys: tuple[str, ...]

    def describe(self) -> str:
        return f"install {len(self.keys)} SSH key{'s' if len(self.keys) > 1 else ''} for {self.account}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(f"{self.home}/.ssh"), file_key(f"{self.home}/.ssh/authorized_keys"))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = _account(view, self.account)
        refuse_system(view, self.home, "home for the account")
        if view.entry(self.home) is None:
            raise StepBlocked(f"{self.home} does not exist yet; it is created at the first login of {self.account!r}")
        # The account does the rest itself, but cannot take ownership of what root owns.
        giving = restore_ownership(view, account, f"{self.home}/.ssh")
        yield from then(self.id, giving, lambda: self._keys(view, account))

    def _keys(self, view: NodeView, account: Account) -> Iterator[Operation]:
        directory = f"{self.home}/.ssh"
        path = f"{directory}/authorized_keys"
        for location, wanted in ((directory, "directory"), (path, "file")):
            existing = view.entry(location)
            if existing is not None and existing.type != wanted:
                raise StepBlocked(f"{location} is a {existing.type}, not a {wanted}; the wizard does not follow it")
        yield MakeDirectory(directory, account.uid, account.gid, 0o700)
        entry = view.entry(path)
        old = entry.content or b"" if entry is not None else b""
        present = {body_of(line) for line in old.split(b"\n")}
        missing = [ssh_key_line(key).encode() for key in self.keys if body_of(key.encode()) not in present]
        if missing and old and not old.endswith(b"\n"):
            old += b"\n"
        new = old + b"".join(key + b"\n" for key in missing)
        yield WriteFile(path, new, account.uid, account.gid, 0o600)


GROUP = "sudo"
SUDOERS = "/etc/sudoers"
DROP_INS = "/etc/sudoers.d"
# sudoers(5): both spellings include the directory; here "#" does not start a comment.
_INCLUDE = re.compile(rf"^[ \t]*[@#]includedir[ \t]+{DROP_INS}/?[ \t]*$", re.MULTILINE)
_GROUP_RULE = re.compile(rf"^[ \t]*%{GROUP}[ \t]+ALL[ \t]*=", re.MULTILINE)


class Sudo(Step, frozen=True, kw_only=True):
    """`password`: the group sudo (and our own rule if the group has none). `nopasswd`: also our own rule.

    The rule identifies the account by its UID: sudoers would treat a name such as ALL, or that of an alias, as more
    than one account. `installed_by` is the earlier step that installs sudo, empty if it is already installed.
    """

    kind: ClassVar[str] = "sudo"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("installed_by",)
    account: str
    way: Literal["password", "nopasswd", "no"]
    installed_by: str = ""
    effect: Effect = "next-login"

    @property
    def path(self) -> str:
        """Our drop-in. sudo skips names with a dot or a tilde, so a dot in the account name becomes '_'."""
        return f"{DROP_INS}/90-bai-wizard-{re.sub(r'[^A-Za-z0-9_-]', '_', self.account)}"

    def describe(self) -> str:
        if self.way == "no":
            return f"remove sudo access of {self.account}"
        return f"allow {self.account} to use sudo ({'' if self.way == 'password' else 'no '}password required)"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path), member_key(self.account, GROUP))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.way == "no":
            yield RemovePath(self.path)
            yield RemoveMember(self.account, GROUP)
            return
        account = _account(view, self.account)
        is_here = "sudo" in view.names("/usr/bin")
        # The package's own /etc/sudoers has a rule for the group and includes the drop-in directory.
        predicted = not is_here and bool(self.installed_by) and view.package("sudo") is not None
        if not is_here and not predicted:
            raise StepBlocked(
                'sudo is not installed on this node: apt-get install sudo, or set sudo = "no" in [account]'
            )
        if view.group(GROUP) is None:
            # Created by base-passwd on every Debian and Ubuntu; the sudo package does not create it.
            raise StepBlocked(f"group {GROUP!r} does not exist on this node; create it: groupadd --system {GROUP}")
        yield AddMember(self.account, GROUP)
        rule = self._rule(sudoers_user(account.uid), has_group_rule=predicted or _has_group_rule(view))
        if not rule:
            yield RemovePath(self.path)
            return
        if not predicted and not _INCLUDE.search(_text(view, SUDOERS)):
            raise StepBlocked(
                f"{SUDOERS} does not include {DROP_INS}; add `@includedir {DROP_INS}` at its end (visudo)"
            )
        yield WriteFile(self.path, rule.encode(), mode=0o440, validator="visudo")

    def _rule(self, user: str, *, has_group_rule: bool) -> str:
        """Return the text of our drop-in; empty if it is not needed."""
        head = f"# Written by bai-wizard for the account {comment(self.account)}.\n"
        if self.way == "nopasswd":
            return f"{head}{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"
        if has_group_rule:
            return ""
        return f"{head}# The group {GROUP} has no rule on this node.\n{user} ALL=(ALL:ALL) ALL\n"


def is_passwordless(text: str, account: str, uid: int) -> bool:
    """Whether a sudoers file lets the account become root without a password, by a rule for its name or UID."""
    user = rf"(?:{re.escape(_escaped(account))}|#{uid})"
    return re.search(rf"(?m)^[ \t]*{user}[ \t]+ALL[ \t]*=.*NOPASSWD:[ \t]*ALL[ \t\r]*$", text) is not None


def _escaped(name: str) -> str:
    """Escape a user name for sudoers(5): a directory service's may contain an '@'."""
    return re.sub(r"([@\\ ,:=!()])", r"\\\1", name)


def _has_group_rule(view: NodeView) -> bool:
    drop_ins = (f"{DROP_INS}/{name}" for name in view.names(DROP_INS) if not re.search(r"\.|~$", name))
    return any(_GROUP_RULE.search(_text(view, path)) for path in (SUDOERS, *drop_ins))


def _text(view: NodeView, path: str) -> str:
    entry = view.entry(path)
    return entry.content.decode("utf-8", "replace") if entry is not None and entry.content is not None else ""
