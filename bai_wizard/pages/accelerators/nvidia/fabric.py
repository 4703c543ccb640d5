"""The fabric manager, and the service for NVLink between nodes, in the driver's version."""

from __future__ import annotations

from msgspec.structs import replace

from bai_wizard.core.page import Unsupported
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import FABRIC_PACKAGES
from bai_wizard.pages.accelerators.nvidia import nvlink_steps
from bai_wizard.pages.accelerators.nvidia.driver import (
    DRIVER,
    Work,
    desktop_flavor,
    fabric_package,
    is_transitional,
)
from bai_wizard.pages.accelerators.nvidia.driver_steps import branch_of, upstream
from bai_wizard.pages.accelerators.nvidia.steps import FabricManager, NvidiaFabric

FABRIC = "accelerators.fabric"


def fabric_packages(work: Work) -> tuple[Step, ...]:
    """Return the fabric manager in the driver's version, if it is needed or requested."""
    if not wants_fabric(work) or work.facts.container:
        return ()
    version = getattr(work.decision, "version", "")
    if work.names is None and (not version or _fabric_fits(work, version)):
        return ()
    desktop = desktop_flavor(work.facts, work.drivers_source) if work.names is None else ""
    if desktop:
        return (_no_fabric_manager(desktop),)
    names = _packages_of(work)
    if names is None or not names.fabric:
        return (_no_fabric_manager(),)
    sdm, own = nvlink_steps.monitoring(work.facts, names), work.drivers_source.startswith("nvidia-")
    # With other sources, the node may also have NVIDIA's repository, with another version of this library.
    return (_in_drivers_version(work, FABRIC, (*names.fabric, *(sdm if own else ())), () if own else sdm),)


def imex_packages(work: Work) -> tuple[Step, ...]:
    """Return the service for NVLink between nodes. Only the site knows the nodes of a rack, so it is not started."""
    if not nvidia.needs_imex(card.device for card in work.cards) or work.facts.container:
        return ()
    names = _packages_of(work)
    if work.settings.fabric_manager == "no" or names is None or not names.imex:
        return ()
    purpose = (
        "install nvidia-imex for NVLink between nodes (then list the nodes of the rack in"
        " /etc/nvidia-imex/nodes_config.cfg on each of them and enable nvidia-imex.service)"
    )
    return (replace(_in_drivers_version(work, "accelerators.imex", names.imex), purpose=purpose),)


def wants_fabric(work: Work) -> bool:
    """Whether the answers or the NVSwitches of this node require a fabric manager."""
    desired = work.settings.fabric_manager
    return desired == "yes" or (desired == "auto" and work.facts.has_switches)


def _packages_of(work: Work) -> nvidia.PackageNames | None:
    """The packages of the planned or installed driver; None without a driver or a source of its packages."""
    if work.names is not None:
        return work.names
    branch, source = branch_of(getattr(work.decision, "version", "")), work.drivers_source
    return nvidia.names(source, branch, "server-open") if branch and source else None


def _in_drivers_version(
    work: Work, id: str, names: tuple[str, ...], where_offered: tuple[str, ...] = ()
) -> NvidiaFabric:
    if work.names is not None:
        package, version, after = work.names.version_of, "", DRIVER
    else:
        package, version, after = "", getattr(work.decision, "version", ""), ""
    return NvidiaFabric(
        id=id, names=names, version=version, package=package, after=after, where_offered=where_offered
    )


def fabric_service(work: Work) -> tuple[Step, ...]:
    """Return the daemon's service, to be started after its package is installed."""
    if not wants_fabric(work):
        return ()
    existing = fabric_package(work.facts)
    coming = next((step.names[0] for step in fabric_packages(work) if isinstance(step, NvidiaFabric)), "")
    package = coming or existing
    if not package:
        return ()
    # A fabric manager that started without the bridges' modules does not find the switches.
    connected = work.facts.gpus and all(gpu.fabric == "completed" for gpu in work.facts.gpus)
    reads = (nvlink_steps.BOOT,) if work.facts.nvlink5 and not connected else ()
    return (FabricManager(id="accelerators.fabric-manager", package=package, after=FABRIC, reads=reads),)


def _fabric_fits(work: Work, version: str) -> bool:
    """Whether the packages of the driver's branch have the driver's version; those of other branches do not count."""
    facts = work.facts
    existing = [name for name in facts.named(*FABRIC_PACKAGES) if not is_transitional(facts, name)]
    existing = [name for name in existing if branch_of(facts.version_of(name)) == branch_of(version)]
    return fabric_package(facts) in existing and all(upstream(facts.version_of(name)) == version for name in existing)


def _no_fabric_manager(desktop: str = "") -> Step:
    reason = (
        "CUDA does not start on a node with NVSwitches without the fabric manager, which this distribution does"
        ' not package: set accelerators.nvidia.source = "nvidia"'
    )
    if desktop:
        server = f"nvidia-kernel-common-{desktop[-3:]}-server"
        reason = (
            f"the installed driver is Ubuntu's desktop flavor ({desktop}), but the fabric manager in Ubuntu's archive"
            f" depends on {server}, which conflicts with it. Without a fabric manager, CUDA does not start on a node"
            " with NVSwitches: remove the desktop driver's packages and apply this page again, which installs the"
            " server flavor. If the driver comes from NVIDIA's apt repository, set accelerators.nvidia.source ="
            ' "nvidia"'
        )
    return Unsupported(id=FABRIC, title="install the fabric manager in the driver's version", reason=reason)
