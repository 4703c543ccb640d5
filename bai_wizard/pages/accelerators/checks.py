"""The checks of the accelerators page."""

from __future__ import annotations

from bai_wizard.core.finding import Check
from bai_wizard.pages.accelerators.check import builds, cdi, containers, cuda, driver, fabric, gpus, vendors

CHECKS: tuple[Check, ...] = (
    *driver.CHECKS,
    *builds.CHECKS,
    *fabric.CHECKS,
    *gpus.CHECKS,
    *cuda.CHECKS,
    *containers.CHECKS,
    *cdi.CHECKS,
    *vendors.CHECKS,
)
