"""What the doctor looks at on machines with NVSwitches, and on those without."""

from __future__ import annotations

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.check.look import PAGE, loaded, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.nvidia_fabric import FabricManager, NvidiaFabric
from bai_wizard.steps.nvidia_load import FABRIC_MANAGER
from bai_wizard.steps.nvidia_versions import branch_of, upstream
from bai_wizard.steps.service import Service

MISSING = Subject("nvidia-fabricmanager-missing", PAGE, "The fabric manager runs where there are NVSwitches")
VERSION = Subject("nvidia-fabricmanager-version", PAGE, "The fabric manager is of the driver's version")
NOT_NEEDED = Subject("nvidia-fabricmanager-not-needed", PAGE, "No fabric manager runs where there is nothing for it")


def missing(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """CUDA does not start before the fabric is initialised; nvidia-smi looks fine all the same."""
    if not _has_switches(facts, cards):
        return MISSING.not_applicable("this machine has no NVSwitches")
    if not loaded(facts):
        return MISSING.not_applicable("no driver is loaded; other checks say why")
    unit = machine.unit(FABRIC_MANAGER)
    gpus = facts.nvml.value.gpus if isinstance(facts.nvml, Known) else ()
    states = sorted({gpu.fabric for gpu in gpus if gpu.fabric})
    evidence = [
        Evidence("service", FABRIC_MANAGER, unit.active if unit is not None else "not installed", "active"),
        *(Evidence("fabric", "NVIDIA's library", state, "completed") for state in states),
    ]
    if unit is not None and unit.active == "active" and all(state == "completed" for state in states):
        return MISSING.ok(*evidence)
    return MISSING.problem(
        "The NVSwitch fabric is not initialised: CUDA programs end with error 802",
        evidence,
        cause="The fabric manager is not installed, does not run, or is still at work.",
        guidance="Install it in exactly the driver's version and start it.",
        remedy=_remedy(facts),
    )


def version(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Any other version does not start."""
    package = _package(facts)
    module = loaded(facts)
    if not package or not module:
        return VERSION.not_applicable("no fabric manager beside a loaded driver")
    there = upstream(facts.version_of(package))
    evidence = Evidence("fabric manager", f"package {package}", there, module)
    if there == module or not _has_switches(facts, cards):
        return VERSION.ok(evidence)
    return VERSION.problem(
        f"The fabric manager is {there} and the driver {module}: it does not start",
        [evidence],
        cause="One of them was upgraded alone.",
        guidance="Install the fabric manager of exactly the driver's version and hold both together. If the driver"
        " was upgraded and the node not restarted since, restart it first.",
        risk="A restart of the fabric manager ends the jobs that use NVLink.",
        remedy=_remedy(facts),
    )


def not_needed(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Its failure on a machine without switches means nothing."""
    unit = machine.unit(FABRIC_MANAGER)
    # One that is off keeps the mark of its last failure until the next boot: that is nobody's fault.
    if _has_switches(facts, cards) or unit is None or unit.enabled != "enabled":
        return NOT_NEEDED.ok()
    return NOT_NEEDED.warning(
        "The fabric manager is switched on, and this machine has no NVSwitches: its failure is harmless",
        [Evidence("service", FABRIC_MANAGER, f"{unit.enabled}, {unit.active}", "disabled")],
        cause="Guides install it everywhere.",
        guidance="Switch it off, so that its failure is not taken for a fault.",
        remedy=(Service(id="accelerators.fabric-manager", unit=FABRIC_MANAGER, enabled=False, active=False),),
    )


def _has_switches(facts: NvidiaFacts, cards: tuple[Card, ...]) -> bool:
    return facts.switches > 0 or any(data.has_fabric(card.device) for card in cards)


def _package(facts: NvidiaFacts) -> str:
    return next((name for name, _ in facts.packages if name.startswith("nvidia-fabricmanager")), "")


def _remedy(facts: NvidiaFacts) -> tuple[Step, ...]:
    """The package of the loaded version where this system's source has one, then the service."""
    module = loaded(facts)
    names: tuple[str, ...] = ()
    if isinstance(facts.system, Known):
        source = data.source_key(facts.system.value.os, facts.system.value.codename, "distribution")
        names = data.names(source, branch_of(module), "server-open").fabric if data.has_source(source) else ()
    package = next(iter(names), "") or _package(facts)
    if not package:
        return ()
    install = (NvidiaFabric(id="accelerators.fabric", names=names, version=module),) if names else ()
    return (*install, FabricManager(id="accelerators.fabric-manager", package=package, after="accelerators.fabric"))


CHECKS = (
    nvidia_check(VERSION, version, "nvidia-module-missing", "nvidia-lib-mismatch"),
    nvidia_check(MISSING, missing, VERSION.id, "nvidia-module-missing"),
    nvidia_check(NOT_NEEDED, not_needed),
)
