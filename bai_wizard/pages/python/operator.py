"""Programs of the account's home, started with the account's rights and never with root's."""

from __future__ import annotations

from collections.abc import Sequence

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.machine import Completed, Machine

# Seconds that one interpreter may take to start and import what it is asked for.
START = 10.0


def as_operator(machine: Machine, context: Context, argv: Sequence[str], deadline: float = START) -> Completed:
    """Runs a program of the account's home with the account's rights. Raises CannotTell where that cannot be."""
    if not machine.is_root:
        raise CannotTell(f"needs root, to act as {context.account}")
    account = machine.account(context.account)
    if account is None:
        raise CannotTell(f"there is no account {context.account} on this node")
    ids = ("--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups", "--inh-caps=-all")
    own = ("env", "-i", f"HOME={account.home}", "LC_ALL=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin")
    return machine.look(("setpriv", *ids, *own, *argv), deadline=deadline)
