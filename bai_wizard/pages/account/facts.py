"""What the account page has to ask the node for, beyond what its steps read themselves."""

from __future__ import annotations

from dataclasses import dataclass

from bai_wizard.core.facts import Absent, Fact
from bai_wizard.core.secret import Secret
from bai_wizard.core.state import Account

ABSENT = Absent()


@dataclass(frozen=True)
class AccountFacts:
    """`account` is the present one of that name. `hash` is the password hash that is wanted, Absent for none.

    `uid_held_by` and `gid_held_by` are names in a directory that have the numbers, empty for nobody;
    `holders_unknown` says why nobody can tell.
    `groups` are those that list the account.
    """

    account: Fact[Account] = ABSENT
    hash: Fact[Secret] = ABSENT
    uid_held_by: str = ""
    gid_held_by: str = ""
    holders_unknown: str = ""
    groups: tuple[str, ...] = ()
