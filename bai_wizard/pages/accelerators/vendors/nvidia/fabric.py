"""The fabric manager's part of the plan."""

from __future__ import annotations

from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.work import DRIVER, Work
from bai_wizard.steps.nvidia_fabric import FabricManager, NvidiaFabric
from bai_wizard.steps.nvidia_versions import branch_of, upstream
from bai_wizard.steps.refusal import Refusal

ID = "accelerators.fabric"
PACKAGES = ("nvidia-fabricmanager", "libnvidia-nscq")


def packages(work: Work) -> tuple[Step, ...]:
    """The fabric manager in the driver's own version, where it is needed or asked for."""
    wish = work.settings.fabric_manager
    if wish == "no" or (wish == "auto" and not work.needs_fabric) or work.facts.container:
        return ()
    if work.names is not None:
        if not work.names.fabric:
            return (_refusal(),)
        return (NvidiaFabric(id=ID, names=work.names.fabric, package=work.names.version_of, after=DRIVER),)
    version = getattr(work.decision, "version", "")
    if not version or _fits(work, version):
        return ()
    names = data.names(work.source, branch_of(version), "server-open").fabric if work.source else ()
    return (NvidiaFabric(id=ID, names=names, version=version),) if names else (_refusal(),)


def service(work: Work) -> tuple[Step, ...]:
    """The daemon itself, once its package is here."""
    if work.settings.fabric_manager == "no" or not (work.needs_fabric or work.settings.fabric_manager == "yes"):
        return ()
    there = next((name for name, _ in work.facts.packages if name.startswith(PACKAGES[0])), "")
    coming = next((step.names[0] for step in packages(work) if isinstance(step, NvidiaFabric)), "")
    package = coming or there
    return (FabricManager(id="accelerators.fabric-manager", package=package, after=ID),) if package else ()


def _fits(work: Work, version: str) -> bool:
    there = [name for name, _ in work.facts.packages if name.startswith(PACKAGES)]
    return bool(there) and all(upstream(work.facts.version_of(name)) == version for name in there)


def _refusal() -> Step:
    reason = (
        "CUDA does not start on a machine with NVSwitches without the fabric manager, which this distribution does"
        ' not have: take accelerators.nvidia.source = "nvidia"'
    )
    return Refusal(id=ID, title="the fabric manager in the driver's version", reason=reason)
