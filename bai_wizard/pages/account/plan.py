"""The steps that bring the operation account about."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.step import Step
from bai_wizard.pages.account.facts import AccountFacts
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.steps.account import DirectoryAccount, LocalAccount
from bai_wizard.steps.authorized_keys import AuthorizedKeys
from bai_wizard.steps.home import Home
from bai_wizard.steps.membership import Groups
from bai_wizard.steps.password import SetAccountPassword
from bai_wizard.steps.sudo import Sudo


def steps(settings: AccountSettings, facts: AccountFacts, context: Context) -> tuple[Step, ...]:
    """Ids first, then the home, groups, sudo, the password, keys. A directory's account keeps home and password."""
    name = settings.username
    home = settings.home_directory
    planned: list[Step] = []
    if settings.source == "directory":
        planned.append(DirectoryAccount(id="account.user", name=name, uid=settings.uid, gid=settings.gid))
        if isinstance(facts.account, Known):
            home = facts.account.value.home
    else:
        planned += _local(settings, facts)
    if settings.groups:
        planned.append(Groups(id="account.groups", account=name, groups=settings.groups))
    planned.append(Sudo(id="account.sudo", account=name, way=settings.sudo))
    if settings.source == "local":
        planned.append(_password(name, facts))
    if settings.authorized_keys:
        keys = AuthorizedKeys(id="account.authorized-keys", account=name, home=home, keys=settings.authorized_keys)
        planned.append(keys)
    return tuple(planned)


def _local(settings: AccountSettings, facts: AccountFacts) -> tuple[Step, ...]:
    home = settings.home_directory
    account = LocalAccount(
        id="account.user",
        name=settings.username,
        uid=settings.uid,
        gid=settings.gid,
        home=home,
        shell=settings.shell,
        existing=settings.existing,
        uid_held_by=facts.uid_held_by,
        gid_held_by=facts.gid_held_by,
        holders_unknown=facts.holders_unknown,
    )
    return account, Home(id="account.home", account=settings.username, home=home)


def _password(name: str, facts: AccountFacts) -> Step:
    wanted = facts.hash.value if isinstance(facts.hash, Known) else None
    unknown = facts.hash.reason if isinstance(facts.hash, Unknown) else ""
    return SetAccountPassword(id="account.password", account=name, hash=wanted, unknown=unknown)
