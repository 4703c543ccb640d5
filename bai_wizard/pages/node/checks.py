"""The checks of the node page."""

from __future__ import annotations

from bai_wizard.pages.node import check_health, check_system, neighbours

CHECKS = (*check_health.CHECKS, *check_system.CHECKS, *neighbours.CHECKS)
