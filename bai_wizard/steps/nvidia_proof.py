"""The proof: a container that sees the GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.primitives import MakeDirectory, Primitive, RunCommand, WriteFile
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView

# Survives the reboot that may lie between setting up and proving. Not in the wizard's own directory, which the first
# run makes between its plan and its first step.
MARK = "/var/lib/misc/bai-wizard-gpu-proof"
WANTED = "wanted\n"


@register
@dataclass(frozen=True, kw_only=True)
class ProofWanted(Step):
    """Notes that the set-up is about to change, so that it has to be proven once it is complete.

    It changes where the engine's configuration does not name the runtime yet.
    """

    kind: ClassVar[str] = "proof-wanted"
    config: str
    runtime: str

    def describe(self) -> str:
        return "noted: what is set up here is to be proven by a container"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{MARK}", f"file:{dirname(MARK)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if f'"{self.runtime}"' in (view.text(self.config) or ""):
            return
        if view.entry(dirname(MARK)) is None:
            yield MakeDirectory(dirname(MARK))
        yield WriteFile(MARK, WANTED.encode())


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaProof(Step):
    """Starts one container of `image` and has the driver's own nvidia-smi list the GPUs in it.

    Without an image at hand it says «not proven» and is done: the next container will show.
    """

    kind: ClassVar[str] = "nvidia-proof"
    image: str
    cdi: bool = False
    optional: bool = True

    def describe(self) -> str:
        return f"a container sees the GPUs ({self.image})" if self.image else "not proven: no suitable image at hand"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{MARK}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if view.text(MARK) != WANTED:
            return
        if self.image:
            devices = ("--device", "nvidia.com/gpu=all") if self.cdi else ("--runtime", "nvidia")
            variables = ("-e", "NVIDIA_VISIBLE_DEVICES=all", "-e", "NVIDIA_DRIVER_CAPABILITIES=utility")
            run = ("docker", "run", "--rm", "--pull=never", "--network=none", *devices, *variables)
            yield RunCommand(
                (*run, "--entrypoint", "nvidia-smi", self.image, "-L"),
                title="list the GPUs in a container",
                timeout=120.0,
            )
        yield WriteFile(MARK, f"{'proven with ' + self.image if self.image else 'not proven'}\n".encode())
