"""Packages that stay together: held against upgrades as one set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives import HoldPackages, Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView


@register
@dataclass(frozen=True, kw_only=True)
class Held(Step):
    """Holds those of `names` that are installed: known once the package `first` is, which the step `after` installs.

    Held packages get no security fixes either: that is told where it is shown.
    """

    kind: ClassVar[str] = "held"
    names: tuple[str, ...]
    first: str = ""
    after: str = ""

    def describe(self) -> str:
        return "driver, modules, kernel and toolkit change together or not at all (apt-mark unhold lets them go)"

    def scope(self) -> tuple[str, ...]:
        return tuple(f"package:{name}" for name in self.names)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self.first and view.package(self.first) is None:
            raise NotYetKnown(self.after)
        free = tuple(name for name in self.names if (package := view.package(name)) is not None and not package.held)
        if free:
            yield HoldPackages(free)
