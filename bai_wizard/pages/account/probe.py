"""Asks the node what it knows of the account, and finds out which password hash is wanted."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.secret import Secret, resolve
from bai_wizard.core.state import Account
from bai_wizard.pages.account.facts import AccountFacts
from bai_wizard.pages.account.settings import AccountSettings

# What getent(1) answers when the database has no such key.
NOT_FOUND = 2


def probe(machine: Machine, settings: AccountSettings, context: Context) -> AccountFacts:
    """The facts of the account. Lets through what the source of the password raises."""
    account = _account(machine, settings.username)
    uid_held_by = gid_held_by = holders_unknown = ""
    try:
        uid_held_by = _holder(machine, "passwd", settings.uid, settings.username, account)
        gid_held_by = _holder(machine, "group", settings.gid, "", account)
    except CannotTell as error:
        holders_unknown = f"whether a directory has the numbers already: {error}"
    return AccountFacts(
        account=account,
        hash=wanted_hash(machine, settings),
        uid_held_by=uid_held_by,
        gid_held_by=gid_held_by,
        holders_unknown=holders_unknown,
        groups=tuple(group.name for group in machine.groups() if machine.is_member(settings.username, group.name)),
    )


def _account(machine: Machine, name: str) -> Fact[Account]:
    try:
        found = machine.account(name)
    except CannotTell as error:
        return Unknown(str(error))
    return Known(found) if found else Absent()


def _holder(machine: Machine, database: str, number: int, own: str, account: Fact[Account]) -> str:
    """Who has a number in a directory; empty where a local entry has it, for then no directory is asked."""
    local = (
        any(entry.uid == number for entry in machine.accounts())
        if database == "passwd"
        else any(group.gid == number for group in machine.groups())
    )
    if local or (isinstance(account, Known) and not account.value.local):
        return ""
    answer = machine.look(("getent", database, str(number)))
    name = answer.out.partition(":")[0] if answer.code == 0 else ""
    if answer.code not in (0, NOT_FOUND):
        raise CannotTell(f"getent {database} {number} answers {answer.code}: {answer.err.strip()}")
    return "" if name == own else name


def wanted_hash(machine: Machine, settings: AccountSettings) -> Fact[Secret]:
    """The hash the password field is to hold: the present one where the clear text fits it, else a fresh one."""
    if settings.password_hash is not None:
        return Known(settings.password_hash)
    if settings.password is None:
        return Absent()
    try:
        current = machine.password(settings.username)
    except CannotTell as error:
        return Unknown(f"whether the password changes: {error}")
    clear = resolve("account.password", settings.password)
    if clear is None:
        return Unknown("the password is asked for when the plan is applied")
    from bai_wizard.machine.libcrypt import belongs_to, hash_of

    try:
        return Known(current.hash if current is not None and belongs_to(clear, current.hash) else hash_of(clear))
    except CannotTell as error:
        return Unknown(str(error))
