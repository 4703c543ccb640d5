"""The description of the GPUs for the Container Device Interface, in the loaded driver's version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives import Primitive, RestartUnit, RunCommand, SetUnit
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.nvidia_driver import MODULE

# The toolkit's own service (1.18 and later) writes the first; the second is what an administrator wrote, and wins.
GENERATED = "/run/cdi/nvidia.yaml"
WRITTEN = "/etc/cdi/nvidia.yaml"
REFRESH = "nvidia-cdi-refresh.service"
WATCH = "nvidia-cdi-refresh.path"


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaCdi(Step):
    """Generates the description where there is none, or one of another driver's libraries."""

    kind: ClassVar[str] = "nvidia-cdi"
    after: str = ""

    def describe(self) -> str:
        return "the GPUs are described for containers (CDI)"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{GENERATED}", f"file:{WRITTEN}", f"unit:{REFRESH}", f"unit:{WATCH}", f"restart:{REFRESH}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        loaded = view.text(MODULE)
        if loaded is None:
            raise NotYetKnown(self.after)
        if view.unit(WATCH) is not None:
            yield SetUnit(WATCH, True, True)
        written, generated = view.text(WRITTEN), view.text(GENERATED)
        if loaded.strip() in ((written if written is not None else generated) or ""):
            return
        if written is None and view.unit(REFRESH) is not None:
            yield RestartUnit(REFRESH, "there is no description of the loaded driver")
            return
        yield RunCommand(
            ("nvidia-ctk", "cdi", "generate", f"--output={WRITTEN}"),
            title="describe the GPUs",
            timeout=60.0,
            touches=(WRITTEN,),
        )
