"""The checks of the python page."""

from __future__ import annotations

from bai_wizard.core.finding import Check
from bai_wizard.pages.python import check_builds, check_venvs

CHECKS: tuple[Check, ...] = tuple(
    check_builds.guarded(check) for check in (*check_builds.CHECKS, *check_venvs.CHECKS)
)
