"""NVIDIA's kernel module: loaded, in the version of its libraries, and answering."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown, RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.primitives import Primitive, RunCommand, SetUnit
from bai_wizard.core.state import Unit
from bai_wizard.core.step import Effect, Interrupt, Node, Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.nvidia_driver import MODULE, PERSISTENCED
from bai_wizard.steps.nvidia_versions import upstream

FABRIC_MANAGER = "nvidia-fabricmanager.service"
# In the order in which they let go of each other.
MODULES = ("nvidia_uvm", "nvidia_peermem", "nvidia_drm", "nvidia_modeset", "nvidia")
NOUVEAU = "/sys/bus/pci/drivers/nouveau"
_OUR_MODULE = re.compile(r"(^|/)nvidia\.ko", re.MULTILINE)


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaLoad(Step):
    """Loads the module that the step `after` installed. What only a restart of the node can do raises RebootNeeded.

    `package` is the one whose version is the driver's, `devices` the GPUs' PCI addresses, `running` and `next` the
    releases of the kernels.
    """

    kind: ClassVar[str] = "nvidia-load"
    package: str
    after: str
    devices: tuple[str, ...]
    running: str
    next: str
    effect: Effect = "now"
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)

    def describe(self) -> str:
        return "NVIDIA's kernel module is loaded in the version of its libraries (may need a reboot)"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{MODULE}", f"unit:{PERSISTENCED}", f"unit:{FABRIC_MANAGER}", "library:nvml")

    def apply(self, node: Node) -> None:
        """Raises RebootNeeded where the old module is in use and cannot be unloaded."""
        was_loaded = node.view.entry(MODULE) is not None
        try:
            super().apply(node)
        except StepFailed as error:
            if not was_loaded:
                raise
            raise RebootNeeded(
                f"another version of NVIDIA's module is loaded and in use ({error}). Restart the node, then run"
                " «bai-wizard resume»"
            ) from error

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        package = view.package(self.package)
        if package is None:
            raise NotYetKnown(self.after)
        held = [name for name in view.names(NOUVEAU) if name in self.devices]
        if held:
            raise RebootNeeded(
                f"the driver nouveau holds the GPU {held[0]} until the next boot. Restart the node, then run"
                " «bai-wizard resume»"
            )
        loaded = view.text(MODULE)
        wanted = upstream(package.version)
        if loaded is not None and wanted in ("", loaded.strip()):
            return
        if loaded is not None:
            yield from self._unload(view)
        elif not self._is_built(view):
            self._refuse(view)
        yield RunCommand(
            ("modprobe", "--", "nvidia"),
            title="load NVIDIA's kernel module",
            timeout=120.0,
            touches=(MODULE,),
            stays="NVIDIA's kernel module stays loaded until the next boot",
        )
        _prove(view)

    def _is_built(self, view: NodeView) -> bool:
        return bool(_OUR_MODULE.search(view.text(f"/lib/modules/{self.running}/modules.dep") or ""))

    def _refuse(self, view: NodeView) -> None:
        if self.next and self.next != self.running:
            raise RebootNeeded(
                f"the running kernel {self.running} has no module of NVIDIA's; the one that boots next, {self.next},"
                " has it. Restart the node, then run «bai-wizard resume»"
            )
        raise StepBlocked(
            f"the packages are installed, but there is no nvidia.ko for the kernel {self.running}. What went wrong"
            " stands in /var/lib/dkms/nvidia/*/build/make.log; «dkms status» says which kernels have it"
        )

    def _unload(self, view: NodeView) -> Iterator[Primitive]:
        for name in (PERSISTENCED, FABRIC_MANAGER):
            unit = view.unit(name)
            if isinstance(unit, Unit) and unit.active == "active":
                yield SetUnit(name, None, False)
        loaded = view.names("/sys/module")
        yield RunCommand(
            ("modprobe", "--remove", "--", *(name for name in MODULES if name in loaded)),
            title="unload NVIDIA's old kernel modules",
            timeout=120.0,
            stays="the new kernel module stays loaded until the next boot",
        )


def _prove(view: NodeView) -> None:
    """That the driver answers. Reading the module first makes a plan say that nobody can know that yet."""
    view.text(MODULE)
    library = view.library("nvml")
    said = json.loads(library.said) if library is not None and library.said else {}
    if said.get("error"):
        raise StepFailed(f"the module is loaded, but the driver says: {said.get('message') or said['error']}")
