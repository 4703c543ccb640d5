"""Which packages are held together."""

from __future__ import annotations

from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.driver import installed_branch
from bai_wizard.pages.accelerators.vendors.nvidia.fabric import PACKAGES
from bai_wizard.pages.accelerators.vendors.nvidia.work import DRIVER, TOOLKIT, Work
from bai_wizard.steps.held import Held
from bai_wizard.steps.nvidia_fabric import NvidiaFabric

ID = "accelerators.hold"
FLAVOURS: tuple[data.Flavour, ...] = ("server-open", "server")
DRIVERS = ("nvidia-", "libnvidia-", "linux-modules-nvidia-")


def hold(work: Work, fabric: tuple[Step, ...]) -> tuple[Step, ...]:
    """Driver, fabric manager and toolkit; with prebuilt modules, which fit one kernel, the kernel too."""
    if not work.settings.hold:
        return ()
    toolkit = data.toolkit() if work.settings.container_toolkit else ()
    managers = tuple(name for step in fabric if isinstance(step, NvidiaFabric) for name in step.names)
    drivers = _installed(work) if work.names is None else _coming(work)
    kernels = _kernels(work) if any(name.startswith("linux-modules-nvidia-") for name in drivers) else ()
    names = tuple(dict.fromkeys((*drivers, *managers, *toolkit, *kernels)))
    if not names:
        return ()
    if work.names is not None:
        return (Held(id=ID, names=names, first=work.names.user[0], after=DRIVER),)
    return (Held(id=ID, names=names, first=toolkit[0] if toolkit else "", after=TOOLKIT),)


def _installed(work: Work) -> tuple[str, ...]:
    """What an installation of the driver that is here would hold; of an unknown kind of packages, all of them."""
    there = {name for name, _ in work.facts.packages}
    managers = sorted(name for name in there if name.startswith(PACKAGES))
    branch = installed_branch(work.facts)
    if work.source and branch:
        for flavour in FLAVOURS:
            names = data.names(work.source, branch, flavour)
            if set(names.user) <= there:
                return tuple(name for name in (*_names(work, names), *managers) if name in there)
    return tuple(name for name, _ in work.facts.packages if name.startswith((*DRIVERS, *PACKAGES)))


def _coming(work: Work) -> tuple[str, ...]:
    assert work.names is not None
    return _names(work, work.names)


def _names(work: Work, names: data.PackageNames) -> tuple[str, ...]:
    kernels = work.facts.kernels
    modules = [names.prebuilt.format(kernel=kernel) for kernel in (*kernels.all, *kernels.metas) if names.prebuilt]
    return (*names.user, *names.dkms, *modules)


def _kernels(work: Work) -> tuple[str, ...]:
    return tuple(f"linux-{part}{meta}" for meta in work.facts.kernels.metas for part in ("", "image-", "headers-"))
