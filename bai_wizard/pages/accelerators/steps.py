"""Cards that are left alone; huge pages of 1 GiB, reserved at boot and mounted where drivers look for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from bai_wizard.core.errors import RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope, above
from bai_wizard.core.parse import comment, whole
from bai_wizard.core.state import RELOAD, command_key, file_key, unit_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.units import ReloadUnits, SetUnit
from bai_wizard.steps.files import DropIn, missing_parent


class LeftAlone(Step, frozen=True, kw_only=True):
    """Changes nothing: these cards are reserved for virtual machines. `cards` are addresses with drivers."""

    kind: ClassVar[str] = "left-alone"
    cards: tuple[str, ...]

    def describe(self) -> str:
        return f"leave to virtual machines: {', '.join(self.cards)}"

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(f"kept for virtual machines: {', '.join(self.cards)}", skipped=True)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from ()


RESERVED = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
BOOT = "/etc/tmpfiles.d/bai-wizard-huge-pages.conf"
CREATE = ("systemd-tmpfiles", "--create", BOOT)
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


class HugePages(Step, frozen=True, kw_only=True):
    """Reserve at least `count` pages. If memory is already fragmented, the next boot reserves them."""

    kind: ClassVar[str] = "huge-pages"
    count: int
    why: str

    def describe(self) -> str:
        return f"reserve {self.count} huge pages of 1 GiB, {self.why}"

    def scope(self) -> tuple[Scope, ...]:
        return (
            file_key(BOOT),
            *above(BOOT),
            file_key(MOUNT_FILE),
            file_key(RESERVED),
            command_key(CREATE),
            unit_key(MOUNT),
            RELOAD,
        )

    def operations(self, view: NodeView) -> Iterator[Operation]:
        existing = view.text(RESERVED)
        if existing is None:
            raise StepBlocked("this processor or kernel does not support huge pages of 1 GiB")
        text = f"# Written by bai-wizard: {comment(self.why)}.\nw {RESERVED} - - - - {self.count}\n"
        yield from missing_parent(view, BOOT)
        yield from DropIn(id=self.id, path=BOOT, text=text, why=self.why).operations(view)
        if whole(existing) < self.count:
            yield RunCommand(
                CREATE,
                title=f"reserve {self.count} huge pages of 1 GiB",
                touches=(RESERVED,),
                stays="the huge pages stay reserved until the next boot",
            )
            self._look(view)
        if view.entry(MOUNT_FILE) is None:
            yield from DropIn(id=self.id, path=MOUNT_FILE, text=MOUNT_TEXT, why=self.why).operations(view)
            yield ReloadUnits(f"{MOUNT} is new")
        yield SetUnit(MOUNT, True, True)

    def _look(self, view: NodeView) -> None:
        reserved = whole(view.text(RESERVED) or 0)
        if reserved >= self.count:
            return
        booted = next((whole(line.split()[1]) for line in (view.text("/proc/stat") or "").split("\n")
                       if line.startswith("btime ")), 0)  # fmt: skip
        if booted and not view.newer(BOOT, booted):
            raise StepFailed(
                f"only {reserved} of {self.count} huge pages could be reserved, even at boot: the node has too little"
                " memory, or its memory is too fragmented. Reserve them earlier with the kernel parameters"
                f" hugepagesz=1G hugepages={self.count}"
            )
        raise RebootNeeded(
            f"memory is fragmented: only {reserved} of {self.count} huge pages could be reserved. They are reserved"
            " early in the next boot. Reboot the node, then run `bai-wizard resume`"
        )
