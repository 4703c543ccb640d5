"""What the doctor looks at in storage. It needs no answers: fstab and the mounts say what is meant."""

from __future__ import annotations

from bai_wizard.core.finding import Check
from bai_wizard.pages.storage import check_fstab, check_mounts, check_owner, check_servers

CHECKS: tuple[Check, ...] = (
    *check_mounts.CHECKS,
    *check_servers.CHECKS,
    *check_owner.CHECKS,
    *check_fstab.CHECKS,
)
