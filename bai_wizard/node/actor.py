"""Who runs this process: its UID, the user who called sudo, and the login that the kernel recorded."""

from __future__ import annotations

import os
from typing import Any

from msgspec import Struct

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.parse import whole
from bai_wizard.trusted_path import sudo_uid

# What the kernel shows for a process that no login started, such as a daemon or a systemd unit.
UNSET = 2**32 - 1
# Linux allows 32 characters in a user name; directory services allow more.
LONGEST = 64


class Actor(Struct, frozen=True):
    """`login` is the UID of the login session (loginuid), which sudo and su do not change; None without one."""

    uid: int
    sudo_user: str = ""
    login: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values for plan files and run directories."""
        return {"uid": self.uid, "sudo_user": self.sudo_user, "loginuid": self.login}


def current_actor(machine: Machine) -> Actor:
    """The actor of this process, which runs on `machine`. SUDO_USER counts only for root, and only with SUDO_UID."""
    is_sudo = sudo_uid() is not None
    return Actor(os.getuid(), os.environ.get("SUDO_USER", "")[:LONGEST] if is_sudo else "", _login(machine))


def _login(machine: Machine) -> int | None:
    try:
        login = whole(machine.kernel_text("/proc/self/loginuid") or "")
    except (StateUnknown, ValueError):
        return None
    return None if login == UNSET else login
