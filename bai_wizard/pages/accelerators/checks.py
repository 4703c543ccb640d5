"""The checks of the accelerators page."""

from __future__ import annotations

from bai_wizard.core.finding import Check

CHECKS: tuple[Check, ...] = ()
