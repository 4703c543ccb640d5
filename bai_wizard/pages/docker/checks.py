"""What the doctor asks of Docker."""

from __future__ import annotations

from bai_wizard.core.finding import Check

CHECKS: tuple[Check, ...] = ()
