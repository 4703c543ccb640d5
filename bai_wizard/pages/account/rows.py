"""The table of the Account page: what each field is on the node, and the steps that change it."""

from __future__ import annotations

from bai_wizard.core.page import Known, Row, Unknown, cannot_tell
from bai_wizard.locale import N_, tr
from bai_wizard.pages.account.probe import AccountFacts

USER = ("account.user",)
SUDO = ("account.sudo", "account.sudo-rules", "account.sudo-package", "account.package-lists")
ROWS = (
    Row("account.username", now=(N_("Account"),), steps=USER),
    Row("account.uid", now=(N_("UID"),), steps=USER),
    Row("account.gid", now=(N_("GID"),), steps=USER),
    Row(
        "account.sudo",
        now=("Sudo",),
        steps=SUDO,
    ),
    Row("account.password", steps=("account.password",)),
    Row("account.authorized_keys", if_set=("account.authorized-keys", "account.sshd")),
    Row(
        "account.home",
        now=(N_("Home"),),
        steps=("account.home", "account.home-location"),
        default=lambda settings, _context: settings.home_directory,
    ),
    Row("account.shell", now=(N_("Shell"),), steps=USER),
    Row("account.groups", now=(N_("Groups"),), if_set=("account.groups",), is_advanced=True),
)


def now(facts: AccountFacts) -> tuple[tuple[str, str], ...]:
    """The current state of the account."""
    if isinstance(facts.account, Unknown):
        return ((N_("Account"), cannot_tell(facts.account)),)
    if not isinstance(facts.account, Known):
        return ((N_("Account"), tr("does not exist")),)
    account = facts.account.value
    return (
        (
            N_("Account"),
            account.name if account.local else tr("{name} (from a directory service)", name=account.name),
        ),
        (N_("UID"), str(account.uid)),
        (N_("GID"), str(account.gid)),
        ("Sudo", tr("member of sudo") if "sudo" in facts.groups else tr("not in group sudo")),
        (N_("Home"), account.home),
        (N_("Shell"), account.shell),
        (N_("Groups"), ", ".join(facts.groups) or tr("primary group only")),
    )
