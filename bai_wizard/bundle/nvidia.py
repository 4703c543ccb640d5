"""NVIDIA's packages of a bundle: by the page's own steps, for nodes whose cards nobody has seen yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bai_wizard.bundle.wanted import WantedPackages
from bai_wizard.compose import Wish
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.facts import Fact, Known
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.vendors.nvidia import fabric
from bai_wizard.pages.accelerators.vendors.nvidia.facts import ABSENT, Kernels, NvidiaFacts
from bai_wizard.pages.accelerators.vendors.nvidia.facts import System as NvidiaSystem
from bai_wizard.pages.accelerators.vendors.nvidia.hold import FLAVOURS
from bai_wizard.pages.accelerators.vendors.nvidia.plan import parts
from bai_wizard.steps.apt import Packages
from bai_wizard.steps.apt_source import AptKey, AptSource
from bai_wizard.steps.cuda_runtime import CudaRuntime
from bai_wizard.steps.nvidia_driver import NvidiaDriver
from bai_wizard.steps.nvidia_fabric import NvidiaFabric
from bai_wizard.steps.nvidia_versions import upstream
from bai_wizard.steps.refusal import Refusal

if TYPE_CHECKING:
    from bai_wizard.pages.docker.facts import System

# The version that apt would take; None where no source offers the package.
Candidate = Callable[[str], str | None]
NO_KERNELS = (
    "NVIDIA's kernel modules: nobody can tell which kernels the nodes have. Name their files with --like, with"
    " var/lib/dpkg/status among them"
)


@dataclass(frozen=True)
class WantedDriver:
    """One flavour of the driver, and what goes with it. `spare`: only nodes with switches need a fabric manager."""

    steps: tuple[Step, ...]
    spare: bool
    page: str = "accelerators"

    @property
    def sources(self) -> tuple[AptSource, ...]:
        """The repositories beyond the system's."""
        return tuple(step for step in self.steps if isinstance(step, AptSource))

    @property
    def keys(self) -> tuple[AptKey, ...]:
        """Their keys."""
        return tuple(step for step in self.steps if isinstance(step, AptKey))

    def named(self, candidate: Candidate) -> tuple[tuple[WantedPackages, ...], tuple[str, ...]]:
        """The packages, now that the sources can be asked; and what they do not have, in words."""
        found, lacks = [], []
        for step in self.steps:
            try:
                names, versions = _packages(step, candidate)
            except StepBlocked as error:
                lacks.append(str(error))
                continue
            if names:
                found.append(WantedPackages(self.page, names, versions))
            if isinstance(step, NvidiaDriver) and not step.kernels:
                lacks.append(NO_KERNELS)
        return tuple(found), tuple(lacks)

    def certain(self) -> tuple[str, ...]:
        """What every node with a GPU needs, whatever kernel and switches it has."""
        found: list[str] = []
        for step in self.steps:
            if isinstance(step, NvidiaDriver):
                found += step.user
            elif isinstance(step, CudaRuntime | Packages) or (isinstance(step, NvidiaFabric) and not self.spare):
                found += step.names
        return tuple(found)


def wanted_drivers(
    wish: Wish, system: System, kernels: tuple[str, ...] = (), key: Fact[str] = ABSENT
) -> tuple[WantedDriver, ...]:
    """Both flavours where the GPUs' generation decides between them on the node; empty where none is asked for."""
    settings = wish.settings.get("accelerators")
    if "accelerators" not in wish.pages or not isinstance(settings, AcceleratorsSettings) or settings.nvidia is None:
        return ()
    nvidia = settings.nvidia
    spare = nvidia.fabric_manager == "auto"
    flavours = FLAVOURS if nvidia.flavour == "auto" and nvidia.driver != "keep" else (nvidia.flavour,)
    newest = kernels[-1] if kernels else ""
    facts = NvidiaFacts(
        system=Known(NvidiaSystem(system.os, system.version, system.codename, system.architecture)),
        kernels=Kernels(newest, newest),
        key=key,
    )
    found = []
    for flavour in flavours:
        update = {"flavour": flavour, "fabric_manager": "yes" if spare else nvidia.fabric_manager}
        steps = parts(nvidia.model_copy(update=update), facts, (), wish.context).packages
        found.append(
            WantedDriver(tuple(_for_all(step, kernels) for step in steps if not _needless(step, spare)), spare)
        )
    return tuple(found)


def _for_all(step: Step, kernels: tuple[str, ...]) -> Step:
    return replace(step, kernels=kernels) if isinstance(step, NvidiaDriver) else step


def _needless(step: Step, spare: bool) -> bool:
    """A fabric manager that this system does not have, where nobody has asked for one."""
    return spare and isinstance(step, Refusal) and step.id == fabric.ID


def _packages(step: Step, candidate: Candidate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and version patterns of one step. Raises StepBlocked where they cannot be had."""
    version = ""
    if isinstance(step, Refusal):
        raise StepBlocked(step.reason)
    if isinstance(step, NvidiaDriver):
        by_kernel = step.chosen(lambda name: candidate(name) is not None) if step.kernels else ()
        names = by_kernel or (*step.user, *step.dkms)
    elif isinstance(step, NvidiaFabric):
        names, version = step.names, f"{upstream(candidate(step.package) or '')}-*"
    elif isinstance(step, CudaRuntime | Packages):
        names = step.names
    else:
        return (), ()
    gone = [name for name in names if candidate(name) is None]
    if gone:
        raise StepBlocked(f"{step.describe()}: no source offers {', '.join(gone)}")
    return names, (version,) * len(names)
