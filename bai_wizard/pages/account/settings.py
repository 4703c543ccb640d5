"""Settings of [account]: the service account of Backend.AI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from bai_wizard.core.paths import is_system, plain
from bai_wizard.pages.fields import Conflict, Many, PasswordHash, SecretSource, SettingsTable, duplicates, field
from bai_wizard.pages.values import AbsolutePath, PathOrEmpty, SshKey, UserName

# systemd allocates these at run time (systemd.io, "Users, Groups, UIDs and GIDs"); 65534 is the overflow UID,
# 65535 is (uid_t)-1 in 16 bits.
DYNAMIC_IDS = range(61184, 65536)
LARGEST_ID = 2**31 - 2


class AccountSettings(SettingsTable):
    """The service account."""

    username: UserName = field(
        "bai", label="User name", help="The account that installs and runs Backend.AI. The manual calls it bai."
    )
    uid: int = field(
        1100,
        label="UID",
        help="The account's UID. Use the same one on every node and on shared storage; the manual uses 1100.",
        ge=1000,
        le=LARGEST_ID,
    )
    gid: int = field(
        1100,
        label="GID",
        help="The GID of the account's primary group. Use the same one on every node; the manual uses 1100.",
        ge=1000,
        le=LARGEST_ID,
    )
    source: Literal["local", "directory"] = field(
        "local",
        label="Source",
        help="Where the account is defined.",
        choices={
            "local": "local account (created if missing)",
            "directory": "LDAP or SSSD (UID and GID are verified, only local groups are added)",
        },
    )
    existing: Literal["adopt", "refuse"] = field(
        "adopt",
        label="If it exists",
        help="What to do if an account with this name, UID and GID already exists.",
        choices={"adopt": "reuse it and adjust it", "refuse": "stop without changing anything"},
    )
    home: PathOrEmpty = field("", label="Home", help="The home directory. Empty: /home and the user name.")
    shell: AbsolutePath = field("/bin/bash", label="Shell", help="The login shell. It must be listed in /etc/shells.")
    groups: Many[UserName] = field(
        (),
        label="Additional groups",
        help="Existing groups that the account joins in addition to those of other pages (sudo, docker).",
        example=["adm"],
    )
    sudo: Literal["password", "nopasswd", "no"] = field(
        "password",
        label="Sudo",
        help="Whether the account has sudo access.",
        choices={
            "password": "asks for the password (member of group sudo)",
            "nopasswd": "no password required (file in /etc/sudoers.d)",
            "no": "none",
        },
    )
    password: SecretSource | None = field(
        None,
        label="Password",
        help="The source of the password, which is never written here. Without one, password login stays locked.",
        example={"env": "BAI_PASSWORD"},
    )
    password_hash: PasswordHash | None = field(
        None,
        label="Password hash",
        help="A hash as in /etc/shadow, instead of `password`. Create one with `mkpasswd -m yescrypt`.",
        example="$y$j9T$…",
    )
    authorized_keys: Many[SshKey] = field(
        (),
        label="SSH keys",
        help="Public keys that can log in as the account. Existing keys are not changed.",
        example=["ssh-ed25519 AAAA… operator@corp"],
    )

    @property
    def home_directory(self) -> str:
        """`home`, or its default, without redundant slashes."""
        return plain(self.home) if self.home else f"/home/{self.username}"

    @property
    def has_password(self) -> bool:
        """Whether a password or a hash is given."""
        return self.password is not None or self.password_hash is not None

    def conflicts(self) -> Iterator[Conflict]:
        if self.username == "root":
            yield Conflict(("username",), "must not be root; the services need a separate account")
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", self.username):
            yield Conflict(
                ("username",),
                "must not consist of uppercase letters only: sudo interprets such a name as ALL or an alias",
            )
        if self.source == "local":
            yield from self._local_conflicts()
        elif self.has_password:
            key = "password" if self.password is not None else "password_hash"
            yield Conflict((key,), 'cannot be set for a directory account; remove it or use source = "local"')
        if self.password is not None and self.password_hash is not None:
            yield Conflict(("password_hash",), "cannot be combined with `password`; set one of the two")
        if self.apply and self.source == "local" and self.sudo == "password" and not self.has_password:
            yield Conflict(
                ("sudo",),
                "requires a password for the account: add `password` or `password_hash`,"
                ' or choose sudo = "nopasswd" or "no"',
                ("password", "password_hash"),
            )
        if self.home and is_system(self.home):
            yield Conflict(("home",), "must not be an operating system directory")
        for key, path in (("home", self.home), ("shell", self.shell)):
            if ":" in path:
                yield Conflict((key,), "must not contain a ':', which separates the fields of /etc/passwd")
        for name in ("groups", "authorized_keys"):
            for index in duplicates(getattr(self, name)):
                yield Conflict((name, index), "is listed twice")

    def _local_conflicts(self) -> Iterator[Conflict]:
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", self.username):
            yield Conflict(
                ("username",),
                "must consist of lowercase letters, digits, '-' and '_' for a local account",
                ("source",),
            )
        for key, value in (("uid", self.uid), ("gid", self.gid)):
            if value in DYNAMIC_IDS:
                yield Conflict(
                    (key,),
                    f"must not be between {DYNAMIC_IDS.start} and {DYNAMIC_IDS.stop - 1}: these IDs are reserved for"
                    " systemd and the user nobody",
                    ("source",),
                )
