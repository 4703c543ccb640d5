"""What the doctor asks of images: can they be pulled at all."""

from __future__ import annotations

from bai_wizard.core.finding import Check
from bai_wizard.pages.images import check_registries

CHECKS: tuple[Check, ...] = check_registries.CHECKS
