"""Kernel parameters: the file that sets them at boot, and the live values, each read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives import Primitive, SetSysctl
from bai_wizard.core.step import Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.better import Better, at_least_as_good
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn


@register
@dataclass(frozen=True, kw_only=True)
class SysctlFile(DropIn):
    """A drop-in for systemd-sysctl."""

    kind: ClassVar[str] = "sysctl-file"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        yield from missing_parent(view, self.path)
        yield from super().primitives(view)


@register
@dataclass(frozen=True, kw_only=True)
class LiveSysctl(Step):
    """Sets `key` to `value` unless the live value serves where `least` is asked for.

    A key that this kernel lacks, or that belongs to a container's host, is skipped and told. `module` brings the key;
    the step `loaded_by` loads it.
    """

    kind: ClassVar[str] = "live-sysctl"
    key: str
    value: str
    least: str
    better: Better = "exact"
    module: str = ""
    loaded_by: str = ""

    def describe(self) -> str:
        return f"{self.key} = {self.value}"

    def scope(self) -> tuple[str, ...]:
        return (f"sysctl:{self.key}",)

    def note(self, view: NodeView) -> Unchanged:
        live = view.sysctl(self.key)
        if live is None:
            return Unchanged("this kernel does not have it", skipped=True)
        if at_least_as_good(self.better, live.value, self.least):
            return Unchanged("" if live.value == self.value else f"kept {live.value}")
        return Unchanged(f"belongs to the host, where it is {live.value}; set it there", skipped=True)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        live = view.sysctl(self.key)
        if live is None and self.module and self.module not in view.names("/sys/module"):
            raise NotYetKnown(self.loaded_by)
        if live is None or not live.writable or at_least_as_good(self.better, live.value, self.least):
            return
        yield SetSysctl(self.key, self.value)
