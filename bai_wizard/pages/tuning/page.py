"""The tuning page: kernel parameters and limits, where the node's own are not better already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.facts import Known
from bai_wizard.core.page import Page, always
from bai_wizard.pages import TITLES
from bai_wizard.pages.tuning.facts import TuningFacts
from bai_wizard.pages.tuning.plan import steps
from bai_wizard.pages.tuning.probe import probe
from bai_wizard.pages.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.tuning.checks import CHECKS

    return CHECKS


def now(facts: TuningFacts) -> tuple[tuple[str, str], ...]:
    """The parameters as they are, and PID 1's limits."""
    from bai_wizard.pages.tuning.pam_limits import shown

    live = [(key, fact.value.value) for key, fact in facts.live.items() if isinstance(fact, Known)]
    limits = [(f"logins: {item}", f"{shown(soft)} : {shown(hard)}") for item, (soft, hard) in facts.inherited.items()]
    return (*live, *limits)


PAGE = Page(
    name="tuning",
    title=TITLES["tuning"],
    summary="Kernel parameters and limits for many connections, files and processes.",
    settings=TuningSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
    reproducible=always,
)
