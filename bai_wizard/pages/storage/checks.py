"""What the doctor looks at in storage."""

from __future__ import annotations

from bai_wizard.core.finding import Check

CHECKS: tuple[Check, ...] = ()
