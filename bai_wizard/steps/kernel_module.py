"""A kernel module that is loaded now and at every boot, before systemd-sysctl sets its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.primitives import Primitive, RunCommand
from bai_wizard.core.step import register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn


@register
@dataclass(frozen=True, kw_only=True)
class KernelModules(DropIn):
    """Writes a list for systemd-modules-load and loads what is not there yet."""

    kind: ClassVar[str] = "kernel-modules"
    modules: tuple[str, ...]

    def describe(self) -> str:
        return f"kernel modules {', '.join(self.modules)}, now and at boot"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        yield from missing_parent(view, self.path)
        yield from super().primitives(view)
        loaded = view.names("/sys/module")
        for module in self.modules:
            if module not in loaded:
                yield RunCommand(
                    ("modprobe", "--", module),
                    title=f"load the kernel module {module}",
                    stays=f"the kernel module {module} stays loaded until the next boot",
                )
