"""The account page: the user and group that operate Backend.AI, with exact ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.page import Page, always
from bai_wizard.pages import TITLES
from bai_wizard.pages.account.facts import AccountFacts
from bai_wizard.pages.account.plan import steps
from bai_wizard.pages.account.probe import probe
from bai_wizard.pages.account.settings import AccountSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.account.checks import CHECKS

    return CHECKS


def now(facts: AccountFacts) -> tuple[tuple[str, str], ...]:
    """The account as it is."""
    if isinstance(facts.account, Unknown):
        return (("Account", f"cannot tell: {facts.account.reason}"),)
    if not isinstance(facts.account, Known):
        return (("Account", "not there"),)
    account = facts.account.value
    return (
        ("Account", account.name if account.local else f"{account.name} (of a directory)"),
        ("Ids", f"uid {account.uid}, gid {account.gid}"),
        ("Home", account.home),
        ("Shell", account.shell),
        ("Groups", ", ".join(facts.groups) or "none but its own"),
    )


PAGE = Page(
    name="account",
    title=TITLES["account"],
    summary="The account that installs and operates Backend.AI, with the same numbers on every node.",
    settings=AccountSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
    reproducible=always,
)
