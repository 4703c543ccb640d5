"""Huge pages of 1 GiB: reserved at every boot, before memory is in pieces, and mounted where drivers look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.primitives import Primitive, ReloadUnits, RunCommand, SetUnit
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.parents import missing_parent
from bai_wizard.steps.write_file import DropIn

RESERVED = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
BOOT = "/etc/tmpfiles.d/bai-wizard-huge-pages.conf"
MOUNT = "dev-hugepages\\x2d1G.mount"
MOUNT_FILE = f"/etc/systemd/system/{MOUNT}"
MOUNT_TEXT = """# Written by bai-wizard.
[Unit]
Description=Huge pages of 1 GiB
DefaultDependencies=no
ConditionPathExists=/sys/kernel/mm/hugepages/hugepages-1048576kB

[Mount]
What=hugetlbfs
Where=/dev/hugepages-1G
Type=hugetlbfs
Options=pagesize=1G,mode=0777,nosuid,nodev

[Install]
WantedBy=sysinit.target
"""


@register
@dataclass(frozen=True, kw_only=True)
class HugePages(Step):
    """Reserves at least `count` pages. Where memory is in pieces already, the next boot reserves them."""

    kind: ClassVar[str] = "huge-pages"
    count: int
    why: str

    def describe(self) -> str:
        return f"{self.count} huge pages of 1 GiB, {self.why}"

    def scope(self) -> tuple[str, ...]:
        return (
            f"file:{BOOT}",
            f"file:{dirname(BOOT)}",
            f"file:{MOUNT_FILE}",
            f"file:{RESERVED}",
            f"unit:{MOUNT}",
            "restart:systemd",
        )

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = view.text(RESERVED)
        if there is None:
            raise StepBlocked("this processor, or this kernel, has no huge pages of 1 GiB")
        text = f"# Written by bai-wizard: {self.why}.\nw {RESERVED} - - - - {self.count}\n"
        yield from missing_parent(view, BOOT)
        yield from DropIn(id=self.id, path=BOOT, text=text, why=self.why).primitives(view)
        if int(there) < self.count:
            yield RunCommand(
                ("systemd-tmpfiles", "--create", BOOT),
                title=f"reserve {self.count} huge pages of 1 GiB",
                touches=(RESERVED,),
                stays="the reserved huge pages stay reserved until the next boot",
            )
            self._look(view)
        if view.entry(MOUNT_FILE) is None:
            yield from DropIn(id=self.id, path=MOUNT_FILE, text=MOUNT_TEXT, why=self.why).primitives(view)
            yield ReloadUnits(f"{MOUNT} is new")
        yield SetUnit(MOUNT, True, True)

    def _look(self, view: NodeView) -> None:
        reserved = int(view.text(RESERVED) or 0)
        if reserved >= self.count:
            return
        booted = next((int(line.split()[1]) for line in (view.text("/proc/stat") or "").split("\n")
                       if line.startswith("btime ")), 0)  # fmt: skip
        if booted and not view.newer(BOOT, booted):
            raise StepFailed(
                f"only {reserved} of {self.count} huge pages could be reserved, at boot as well: the node has too"
                " little memory, or too little of it in one piece. The kernel parameters hugepagesz=1G"
                f" hugepages={self.count} reserve them before anything else does"
            )
        raise RebootNeeded(
            f"memory is in pieces: {reserved} of {self.count} huge pages could be reserved. The next boot reserves"
            " them first. Restart the node, then run «bai-wizard resume»"
        )
