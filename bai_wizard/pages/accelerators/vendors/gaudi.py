"""Intel Gaudi: the module that its network needs first."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import VendorFacts
from bai_wizard.steps.kernel_module import KernelModules

MODULES = "/etc/modules-load.d/bai-wizard-gaudi.conf"


def steps(facts: VendorFacts, context: Context) -> tuple[Step, ...]:
    """ib_uverbs is loaded at boot, before the driver looks for its symbols (habanalabs_ib: Unknown symbol)."""
    modules = catalogue.vendor(facts.key).load
    if not facts.has_module:
        return ()
    text = "# Written by bai-wizard: habanalabs_ib needs it to be there first.\n" + "".join(
        f"{one}\n" for one in modules
    )
    return (
        KernelModules(
            id="accelerators.gaudi-modules", path=MODULES, text=text, why="before Gaudi's network", modules=modules
        ),
    )
