"""AMD Instinct: who may use the device nodes."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.facts import VendorFacts
from bai_wizard.steps.membership import Groups


def steps(facts: VendorFacts, context: Context) -> tuple[Step, ...]:
    """The operation account joins video and render, as far as the driver's packages have made them."""
    if not facts.groups:
        return ()
    return (Groups(id="accelerators.amd-groups", account=context.account, groups=facts.groups),)
