"""Settings of [account]: the account that operates Backend.AI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from bai_wizard.pages.fields import Conflict, Many, PasswordHash, SecretSource, SettingsTable, duplicates, field
from bai_wizard.pages.values import AbsolutePath, PathOrEmpty, SshKey, UserName

# systemd hands these out at run time (systemd.io, "Users, Groups, UIDs and GIDs"); 65534 is nobody,
# 65535 is (uid_t)-1 in 16 bits.
DYNAMIC_IDS = range(61184, 65536)
LARGEST_ID = 2**31 - 2


class AccountSettings(SettingsTable):
    """The operation account."""

    username: UserName = field(
        "bai", label="User name", help="The account that installs and runs Backend.AI. The manual calls it bai."
    )
    uid: int = field(
        1100,
        label="User id",
        help="The account's uid. It should be the same on every node and on shared storage; the manual takes 1100.",
        ge=1000,
        le=LARGEST_ID,
    )
    gid: int = field(
        1100,
        label="Group id",
        help="The gid of the account's own group. It should be the same on every node; the manual takes 1100.",
        ge=1000,
        le=LARGEST_ID,
    )
    source: Literal["local", "directory"] = field(
        "local",
        label="Source",
        help="Where the account lives.",
        choices={
            "local": "in this node's own files; made if it is not there",
            "directory": "in LDAP or SSSD: its ids are verified, only local groups are added",
        },
    )
    existing: Literal["adopt", "refuse"] = field(
        "adopt",
        label="If it exists",
        help="What to do when an account of this name with the right ids is there already.",
        choices={
            "adopt": "take it over and bring it to what is asked for",
            "refuse": "stop before anything is touched",
        },
    )
    home: PathOrEmpty = field("", label="Home", help="The home directory. Empty: /home and the user name.")
    shell: AbsolutePath = field("/bin/bash", label="Shell", help="The login shell. It must be listed in /etc/shells.")
    groups: Many[UserName] = field(
        (),
        label="Further groups",
        help="Existing groups that the account joins besides those of the other pages (sudo, docker).",
        example=["adm"],
    )
    sudo: Literal["password", "nopasswd", "no"] = field(
        "password",
        label="Sudo",
        help="Whether the account may become root.",
        choices={
            "password": "with its password, as a member of the group sudo; so it needs a password",
            "nopasswd": "without a password, by a file in /etc/sudoers.d",
            "no": "not at all",
        },
    )
    password: SecretSource | None = field(
        None,
        label="Password",
        help="Where the password comes from; it is never written here. Without it the password stays locked.",
        example={"env": "BAI_PASSWORD"},
    )
    password_hash: PasswordHash | None = field(
        None,
        label="Password hash",
        help="A ready hash as in /etc/shadow, instead of `password`. Make one with `mkpasswd -m yescrypt`.",
        example="$y$j9T$…",
    )
    authorized_keys: Many[SshKey] = field(
        (),
        label="SSH keys",
        help="Public keys that may log in as the account. Keys that are there already are not touched.",
        example=["ssh-ed25519 AAAA… operator@corp"],
    )

    @property
    def home_directory(self) -> str:
        """`home`, or its default."""
        return self.home or f"/home/{self.username}"

    @property
    def has_password(self) -> bool:
        """True when a password or a hash is given."""
        return self.password is not None or self.password_hash is not None

    def conflicts(self) -> Iterator[Conflict]:
        if self.username == "root":
            yield Conflict(("username",), "must not be root; the services need an account of their own")
        if self.source == "local":
            yield from self._local_conflicts()
        elif self.has_password:
            key = "password" if self.password is not None else "password_hash"
            yield Conflict(
                (key,), 'cannot be set for an account of a directory; leave it out or use source = "local"'
            )
        if self.password is not None and self.password_hash is not None:
            yield Conflict(("password_hash",), "stands beside `password`; give one of the two")
        if self.apply and self.source == "local" and self.sudo == "password" and not self.has_password:
            yield Conflict(
                ("sudo",),
                "needs a password, or the account cannot use sudo: add `password` or `password_hash`,"
                ' or choose sudo = "nopasswd" or "no"',
                ("password", "password_hash"),
            )
        for name in ("groups", "authorized_keys"):
            for place in duplicates(getattr(self, name)):
                yield Conflict((name, place), "is listed twice")

    def _local_conflicts(self) -> Iterator[Conflict]:
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", self.username):
            yield Conflict(
                ("username",),
                "must consist of small letters, digits, '-' and '_' for a local account",
                ("source",),
            )
        for key, value in (("uid", self.uid), ("gid", self.gid)):
            if value in DYNAMIC_IDS:
                yield Conflict(
                    (key,),
                    f"must not be between {DYNAMIC_IDS.start} and {DYNAMIC_IDS.stop - 1}: these ids belong to systemd"
                    " and to nobody",
                    ("source",),
                )
