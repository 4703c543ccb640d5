"""The fabric manager, in exactly the driver's version: any other one does not start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives import HoldPackages, InstallPackages, Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.nvidia_load import FABRIC_MANAGER
from bai_wizard.steps.nvidia_versions import upstream
from bai_wizard.steps.service import Service


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaFabric(Step):
    """Installs `names` in NVIDIA's `version`; empty: that of `package`, which the step `after` installs."""

    kind: ClassVar[str] = "nvidia-fabric"
    names: tuple[str, ...]
    version: str = ""
    package: str = ""
    after: str = ""

    def describe(self) -> str:
        return f"the fabric manager in the driver's version {self.version}".rstrip()

    def scope(self) -> tuple[str, ...]:
        return (*(f"package:{name}" for name in self.names), f"unit:{FABRIC_MANAGER}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        version = self.version or self._drivers(view)
        there = {name: view.package(name) for name in self.names}
        wrong = [name for name, package in there.items() if package is None or upstream(package.version) != version]
        held = tuple(name for name in wrong if (package := there[name]) is not None and package.held)
        if held:
            yield HoldPackages(held, False)
        if wrong:
            yield InstallPackages(tuple(wrong), (f"{version}-*",) * len(wrong), (f"unit:{FABRIC_MANAGER}",))

    def _drivers(self, view: NodeView) -> str:
        package = view.package(self.package)
        version = upstream(package.version) if package is not None else ""
        if not version:
            raise NotYetKnown(self.after)
        return version


@register
@dataclass(frozen=True, kw_only=True)
class FabricManager(Service):
    """The fabric manager's service. It comes with `package`, which the step `after` installs."""

    kind: ClassVar[str] = "fabric-manager"
    unit: str = FABRIC_MANAGER
    package: str
    after: str

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if view.package(self.package) is None:
            raise NotYetKnown(self.after)
        yield from super().primitives(view)
