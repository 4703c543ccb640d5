"""The checks of the tuning page."""

from __future__ import annotations

from bai_wizard.pages.tuning import check_kernel, check_limits

CHECKS = (*check_kernel.CHECKS, *check_limits.CHECKS)
