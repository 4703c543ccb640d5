"""What the doctor asks of images."""

from __future__ import annotations

from bai_wizard.core.finding import Check

CHECKS: tuple[Check, ...] = ()
