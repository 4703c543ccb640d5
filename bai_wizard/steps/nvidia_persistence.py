"""NVIDIA's persistence daemon: the driver stays initialised while nobody uses a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import NotYetKnown
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Interrupt, Step, Unchanged, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.nvidia_driver import PERSISTENCED
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.service import Service
from bai_wizard.steps.unit_files import settings
from bai_wizard.steps.write_file import DropIn

DROP_IN = f"/etc/systemd/system/{PERSISTENCED}.d/bai-wizard.conf"
SWITCHED_OFF = "--no-persistence-mode"


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaPersistence(Step):
    """Enabled and running, in the mode that gives it its name: Ubuntu's unit starts it without.

    It comes with `package`, which the step `after` installs; empty for a driver that is here already.
    """

    kind: ClassVar[str] = "nvidia-persistence"
    package: str = ""
    after: str = ""
    # systemd reads its files anew, which detaches GPUs from running containers.
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)

    def describe(self) -> str:
        return "the persistence daemon keeps the driver initialised"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{DROP_IN}", f"file:{DROP_IN.rpartition('/')[0]}", f"unit:{PERSISTENCED}")

    def note(self, view: NodeView) -> Unchanged:
        if view.unit(PERSISTENCED) is None:
            return Unchanged("this driver came without the daemon", skipped=True)
        return Unchanged()

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if self.package and view.package(self.package) is None:
            raise NotYetKnown(self.after)
        if view.unit(PERSISTENCED) is None:
            return
        starts = [one.value for one in settings(view, PERSISTENCED, "Service", "ExecStart") if one.path != DROP_IN]
        reads: tuple[str, ...] = ()
        if starts and SWITCHED_OFF in starts[-1]:
            command = starts[-1].replace(SWITCHED_OFF, "--persistence-mode")
            text = f"# Written by bai-wizard.\n[Service]\nExecStart=\nExecStart={command}\n"
            drop_in = DropIn(id=self.id, path=DROP_IN, text=text, why="persistence mode on")
            yield from _with_directory(view, drop_in)
            reads = (DROP_IN,)
        yield from Service(id=self.id, unit=PERSISTENCED, reads=reads).primitives(view)


def _with_directory(view: NodeView, drop_in: DropIn) -> Iterator[Primitive]:
    yield from missing_parent(view, drop_in.path)
    yield from drop_in.primitives(view)
