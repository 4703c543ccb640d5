"""Requirements of NVLink 5 (HGX B100, B200, B300) and multi-node NVLink (GB200, GB300) beyond the driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.page import Known
from bai_wizard.core.state import package_key
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import NvidiaFacts
from bai_wizard.steps.kernel import KernelModules
from bai_wizard.steps.packages import Packages

BOOT = "/etc/modules-load.d/bai-wizard-nvlink.conf"
EXTRA = "linux-modules-extra-{kernel}"


class SubnetManager(Packages, frozen=True, kw_only=True):
    """Install NVIDIA's subnet manager, which only NVIDIA's repository has, with its tools."""

    kind: ClassVar[str] = "nvlink-subnet-manager"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        name = self.names[0]
        if view.package(name) is None and view.candidate(name) is None:
            raise StepBlocked(
                f"GPUs with NVLink 5 need {name}, which only NVIDIA's apt repository has: without it, CUDA fails with"
                ' error 802. Set accelerators.nvidia.source = "nvidia", or add that repository (or a mirror of it) to'
                " this node's package sources, then try again"
            )
        yield from super().operations(view)


class ExtraModules(Step, frozen=True, kw_only=True):
    """Install modules that cloud images omit: for `kernels`, and for future kernels of the flavors `metas`."""

    kind: ClassVar[str] = "extra-modules"
    is_slow: ClassVar[bool] = True
    kernels: tuple[str, ...]
    metas: tuple[str, ...]
    modules: tuple[str, ...]

    def describe(self) -> str:
        return f"install the kernel modules {', '.join(self.modules)} for {', '.join(self.kernels)}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(package_key(EXTRA.format(kernel=kernel)) for kernel in (*self.kernels, *self.metas))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        names = []
        for kernel in (*self.kernels, *self.metas):
            name = EXTRA.format(kernel=kernel)
            if view.package(name) is not None or view.candidate(name) is not None:
                names.append(name)
            elif kernel in self.kernels:
                raise StepBlocked(
                    f"kernel {kernel} lacks {' or '.join(self.modules)}, which NVLink 5 needs, and no package source"
                    f" of this node has {name}. Install the distribution's full and newest kernel, reboot, then try"
                    " again"
                )
        yield from Packages(id=self.id, names=tuple(names), why=self.describe()).operations(view)


def nvlink5(facts: NvidiaFacts) -> tuple[Step, ...]:
    """Return the subnet manager and the bridges' modules. The fabric manager starts with them, so they come first."""
    if not facts.nvlink5 or facts.container:
        return ()
    modules = nvidia.data().nvlink5_modules
    why = "through which the fabric manager reaches the NVSwitches"
    steps: list[Step] = []
    if facts.without_bridge:
        steps.append(
            ExtraModules(
                id="accelerators.nvlink-extra",
                kernels=facts.without_bridge,
                metas=facts.kernels.metas,
                modules=modules,
            )
        )
    steps.append(
        KernelModules(
            id="accelerators.nvlink-modules",
            path=BOOT,
            text="\n".join(
                ["# Written by bai-wizard: the fabric manager reaches NVSwitches through them.", *modules, ""]
            ),
            why=why,
            modules=modules,
        )
    )
    packages = nvidia.data().nvlink5_packages
    steps.append(SubnetManager(id="accelerators.nvlink", names=packages, why="install the NVLink subnet manager"))
    return tuple(steps)


def monitoring(facts: NvidiaFacts, names: nvidia.PackageNames) -> tuple[str, ...]:
    """Return the library for NVLink 5 switches, which NVIDIA builds for amd64 only."""
    on_amd64 = isinstance(facts.system, Known) and facts.system.value.architecture == "amd64"
    return names.sdm if facts.nvlink5 and on_amd64 else ()
