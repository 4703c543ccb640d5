"""Which packages of the driver, kernel and toolkit are held."""

from __future__ import annotations

import re

from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import FABRIC_PACKAGES
from bai_wizard.pages.accelerators.nvidia.driver import DRIVER, TOOLKIT, Work, installed_branch
from bai_wizard.pages.accelerators.nvidia.steps import NvidiaFabric, PackageHold

HOLD = "accelerators.hold"
FLAVOURS: tuple[nvidia.Flavour, ...] = ("server-open", "server")
DRIVER_PREFIXES = ("nvidia-", "libnvidia-", "linux-modules-nvidia-")


def hold(work: Work, fabric: tuple[Step, ...]) -> tuple[Step, ...]:
    """Hold driver, fabric manager and toolkit; with prebuilt modules, which match one kernel, the kernel too."""
    if not work.settings.hold:
        return ()
    toolkit = nvidia.data().toolkit if work.settings.container_toolkit else ()
    managers = tuple(
        name for step in fabric if isinstance(step, NvidiaFabric) for name in (*step.names, *step.where_offered)
    )
    drivers = _installed_to_hold(work) if work.names is None else _driver_packages(work, work.names)
    kernels = _kernel_packages(work) if any(name.startswith("linux-modules-nvidia-") for name in drivers) else ()
    names = tuple(dict.fromkeys((*drivers, *managers, *toolkit, *kernels)))
    if not names:
        return ()
    if work.names is not None:
        return (PackageHold(id=HOLD, names=names, first=work.names.user[0], after=DRIVER),)
    return (PackageHold(id=HOLD, names=names, first=toolkit[0] if toolkit else "", after=TOOLKIT),)


def _installed_to_hold(work: Work) -> tuple[str, ...]:
    """What an installation of the current driver would hold; for an unknown kind of packages, all of them."""
    existing = {name for name, _ in work.facts.packages}
    managers = sorted(work.facts.named(*FABRIC_PACKAGES))
    branch = installed_branch(work.facts)
    if work.drivers_source and branch:
        for flavour in FLAVOURS:
            names = nvidia.names(work.drivers_source, branch, flavour)
            if set(names.user) <= existing:
                return tuple(name for name in (*_driver_packages(work, names), *managers) if name in existing)
    return work.facts.named(*DRIVER_PREFIXES, *FABRIC_PACKAGES)


def _driver_packages(work: Work, names: nvidia.PackageNames) -> tuple[str, ...]:
    kernels = work.facts.kernels
    modules = [names.prebuilt.format(kernel=kernel) for kernel in (*kernels.all, *kernels.metas) if names.prebuilt]
    return (*names.user, *names.dkms, *modules)


# A metapackage's flavor, without the parts that kernel names omit: generic-hwe-24.04, aws-lts-24.04, oem-24.04b.
_SERIES = re.compile(r"(-hwe|-lts)?(-\d+\.\d+[a-z]?)?(-edge)?$")


def _kernel_packages(work: Work) -> tuple[str, ...]:
    """The metapackages of the kernels; for a kernel without a metapackage, its own packages."""
    kernels = work.facts.kernels
    flavors = {_SERIES.sub("", meta) for meta in kernels.metas}
    flavors |= {flavor.replace("virtual", "generic") for flavor in flavors}
    alone = [kernel for kernel in kernels.all if not kernel.endswith(tuple(f"-{flavor}" for flavor in flavors))]
    return (
        *(f"linux-{part}{meta}" for meta in kernels.metas for part in ("", "image-", "headers-")),
        *(f"linux-{part}-{kernel}" for kernel in alone for part in ("image", "image-unsigned", "modules", "headers")),
    )
