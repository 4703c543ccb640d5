"""The Account page: the service account with its home, groups, sudo access, password and SSH keys."""

from __future__ import annotations

from bai_wizard.core.page import Absent, Context, Known, Page, Unknown, Unsupported, refusals
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.account.probe import AccountFacts, probe
from bai_wizard.pages.account.rows import ROWS, now
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.account.steps import AuthorizedKeys, Home, Sudo
from bai_wizard.steps.accounts import DirectoryAccount, Groups, LocalAccount, SetAccountPassword
from bai_wizard.steps.packages import PackageLists, Packages

SUDO_PACKAGE = "account.sudo-package"


def steps(settings: AccountSettings, facts: AccountFacts, context: Context) -> tuple[Step, ...]:
    """UID and GID first, then home, groups, sudo, password, keys. A directory account keeps its home and password."""
    name = settings.username
    home = settings.home_directory
    planned: list[Step] = []
    if settings.source == "directory":
        planned.append(DirectoryAccount(id="account.user", name=name, uid=settings.uid, gid=settings.gid))
        if isinstance(facts.account, Known):
            home = facts.account.value.home
    else:
        if facts.home_fault:
            planned.append(Unsupported(id="account.home-location", title=f"create {home}/", reason=facts.home_fault))
        planned += _local(settings, facts)
    if settings.groups:
        planned.append(Groups(id="account.groups", account=name, groups=settings.groups))
    planned += _sudo(settings, facts)
    if facts.sudo_conflict:
        title = f"sudo access of {name}"
        planned.append(Unsupported(id="account.sudo-rules", title=title, reason=facts.sudo_conflict, optional=True))
    if settings.source == "local":
        planned.append(_password(name, facts))
    if settings.authorized_keys:
        keys = AuthorizedKeys(id="account.authorized-keys", account=name, home=home, keys=settings.authorized_keys)
        planned.append(keys)
    if facts.sshd_conflict:
        title = f"SSH login of {name} with its keys"
        planned.append(Unsupported(id="account.sshd", title=title, reason=facts.sshd_conflict, optional=True))
    return (*planned, *refusals(facts.unfixed))


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
    fresh = isinstance(facts.account, Absent)
    return account, Home(id="account.home", account=settings.username, home=home, fresh=fresh)


def _sudo(settings: AccountSettings, facts: AccountFacts) -> tuple[Step, ...]:
    """The sudo package first if the node lacks it: it provides /etc/sudoers and visudo."""
    if settings.sudo == "no" or not facts.lacks_sudo:
        return (Sudo(id="account.sudo", account=settings.username, way=settings.sudo),)
    install = Packages(id=SUDO_PACKAGE, names=("sudo",), why="sudo")
    return (
        PackageLists(id="account.package-lists", packages=install.names),
        install,
        Sudo(id="account.sudo", account=settings.username, way=settings.sudo, installed_by=install.id),
    )


def _password(name: str, facts: AccountFacts) -> Step:
    wanted = facts.hash.value if isinstance(facts.hash, Known) else None
    unknown = facts.hash.reason if isinstance(facts.hash, Unknown) else ""
    return SetAccountPassword(id="account.password", account=name, hash=wanted, unknown=unknown)


PAGE = Page(
    name="account",
    title=TITLES["account"],
    summary="The account that installs and operates Backend.AI, with the same UID and GID on every node.",
    settings=AccountSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("account"),
    now=now,
    rows=ROWS,
)
