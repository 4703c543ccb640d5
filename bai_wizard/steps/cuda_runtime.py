"""CUDA's runtime library, which Backend.AI's agent loads: installed, and proven by loading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.apt import Packages

LIBRARY = "cudart"


@register
@dataclass(frozen=True, kw_only=True)
class CudaRuntime(Step):
    """Installs `names` unless a library can be loaded already. `wanted` asks for the packages in any case."""

    kind: ClassVar[str] = "cuda-runtime"
    names: tuple[str, ...]
    wanted: bool = False

    def describe(self) -> str:
        return f"CUDA's runtime library can be loaded by the agent: {' '.join(self.names)}"

    def scope(self) -> tuple[str, ...]:
        return (*(f"package:{name}" for name in self.names), f"library:{LIBRARY}")

    def note(self, view: NodeView) -> Unchanged:
        library = view.library(LIBRARY)
        return Unchanged(f"{library.said} {library.version}" if library is not None else "")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self.wanted or view.library(LIBRARY) is None:
            brings = (f"library:{LIBRARY}",)
            yield from Packages(id=self.id, names=self.names, why="CUDA", brings=brings).primitives(view)
            if view.library(LIBRARY) is None:
                raise StepBlocked(
                    f"{' '.join(self.names)} is installed, but no program can load libcudart. Run «ldconfig», look"
                    " whether «ldconfig -p» lists libcudart.so, then repeat"
                )
