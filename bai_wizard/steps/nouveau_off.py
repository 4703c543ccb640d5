"""The free driver nouveau gives way to NVIDIA's at the next boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.primitives import Primitive, RunCommand
from bai_wizard.core.step import Effect, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn

PATH = "/etc/modprobe.d/bai-wizard-nouveau.conf"
TEXT = (
    "# Written by bai-wizard: NVIDIA's driver cannot have a GPU that nouveau holds.\n"
    "blacklist nouveau\n"
    "options nouveau modeset=0\n"
)
# What makes the initial ramdisks anew. Ubuntu 26.04 has both programs and boots what dracut makes.
INITRAMFS_TOOLS = ("update-initramfs", "-u", "-k", "all")
DRACUT = ("dracut", "--force", "--regenerate-all")
DRACUTS_PATH = "/usr/bin/dracut"


@register
@dataclass(frozen=True, kw_only=True)
class NouveauOff(DropIn):
    """Keeps nouveau from loading, and puts that into the initial ramdisks, which load drivers very early.

    `kernel` is the release that boots next: its ramdisk has to be newer than the file.
    """

    kind: ClassVar[str] = "nouveau-off"
    path: str = PATH
    text: str = TEXT
    why: str = "nouveau leaves the GPUs to NVIDIA's driver; text consoles lose their high resolution"
    kernel: str
    effect: Effect = "reboot"

    def scope(self) -> tuple[str, ...]:
        return (f"file:{self.path}", f"file:{self._ramdisk}")

    @property
    def _ramdisk(self) -> str:
        return f"/boot/initrd.img-{self.kernel}"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        yield from missing_parent(view, self.path)
        yield from super().primitives(view)
        if view.entry(self._ramdisk) is not None and view.newer(self.path, view.changed_at(self._ramdisk)):
            update = DRACUT if view.entry(DRACUTS_PATH) is not None else INITRAMFS_TOOLS
            yield RunCommand(
                update,
                title="put it into the initial ramdisks",
                timeout=1800.0,
                cancel="finish",
                touches=(self._ramdisk,),
                undo=update,
                undo_last=True,
            )
