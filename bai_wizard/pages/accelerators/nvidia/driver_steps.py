"""Steps for NVIDIA's driver: its packages, nouveau, and the kernel module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import ClassVar

from bai_wizard.core.consent import Interrupt
from bai_wizard.core.errors import KnownAfterApply, RebootNeeded, StepBlocked, StepFailed
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope, above
from bai_wizard.core.parse import json_value
from bai_wizard.core.state import Key, Unit, command_key, file_key, package_key, unit_key
from bai_wizard.core.step import Effect, Node, Step
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.units import SetUnit
from bai_wizard.steps.files import DropIn, missing_parent
from bai_wizard.steps.packages import Packages


def upstream(version: str) -> str:
    """Return 580.95.05 for `580.95.05-0ubuntu0.24.04.1`; empty if it is not a version."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    return match[1] if match else ""


def branch_of(version: str) -> str:
    """Return 580 for `580.95.05-0ubuntu0.24.04.1`; empty if it is not a driver version."""
    match = re.match(r"(?:\d+:)?(\d{3})\.", version)
    return match[1] if match else ""


# The kernel module's own version; its directory exists only while the module is loaded.
MODULE_VERSION = "/sys/module/nvidia/version"
PERSISTENCED = "nvidia-persistenced.service"
PERSISTENCED_FILE = f"/usr/lib/systemd/system/{PERSISTENCED}"
# What the driver's packages create that later steps use.
DRIVER_BRINGS = (f"file:{MODULE_VERSION}", f"file:{PERSISTENCED_FILE}", f"unit:{PERSISTENCED}", "library:nvml")
HEADERS = "linux-headers-{kernel}"


class NvidiaDriver(Step, frozen=True, kw_only=True):
    """Install `user`, and modules: prebuilt ones if the next kernel has them, otherwise built here with DKMS.

    `prebuilt` is a package name with {kernel}; empty if the source has none. `kernels` are releases, the next boot's
    last; `metas` the flavors whose latest modules or headers are to follow kernel upgrades. `unsigned` explains why a
    module built here would not be loaded, empty if it would. `components` are the archive's components. `version` is
    the pattern of the driver's version if the names contain no branch, or empty.
    """

    kind: ClassVar[str] = "nvidia-driver"
    is_slow: ClassVar[bool] = True
    omitted_if_default: ClassVar[tuple[str, ...]] = ("version",)
    user: tuple[str, ...]
    prebuilt: str
    dkms: tuple[str, ...]
    kernels: tuple[str, ...]
    metas: tuple[str, ...] = ()
    unsigned: str = ""
    components: str = ""
    version: str = ""

    def describe(self) -> str:
        return f"install the NVIDIA driver for the kernels {', '.join(self.kernels)}: {self.user[0]}"

    def scope(self) -> tuple[Scope, ...]:
        patterns = [pattern for pattern in (self.prebuilt, HEADERS) if pattern]
        kernels = [pattern.format(kernel=kernel) for pattern in patterns for kernel in (*self.kernels, *self.metas)]
        packages = tuple(package_key(name) for name in (*self.user, *self.dkms, *kernels))
        return (*packages, *(Key(*name.split(":", 1)) for name in DRIVER_BRINGS))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        names = self.chosen(lambda name: view.package(name) is not None or view.candidate(name) is not None)
        versions = self.versions(names)
        yield from Packages(
            id=self.id, names=names, versions=versions, why="install the NVIDIA driver", brings=DRIVER_BRINGS
        ).operations(view)

    def versions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return a version pattern for each name; empty for apt's choice."""
        return tuple(self.version if name in (*self.user, *self.dkms) else "" for name in names)

    def chosen(self, offered: Callable[[str], bool]) -> tuple[str, ...]:
        """Choose the packages according to availability. Raises StepBlocked if the driver is not available."""
        for name in self.user:
            if not offered(name):
                advice = (
                    f"Add the archive's components {self.components} to the sources"
                    if self.components
                    else "Check the sources"
                )
                raise StepBlocked(f"no package source of this node has {name}. {advice}, then try again")
        return (*self.user, *(self._ready_made(offered) or self._built(offered)))

    def _ready_made(self, offered: Callable[[str], bool]) -> tuple[str, ...]:
        """Return signed modules for each kernel that has them; empty if the next boot's kernel has none."""
        if not self.prebuilt:
            return ()
        names = [self.prebuilt.format(kernel=kernel) for kernel in self.kernels]
        if not offered(names[-1]):
            return ()
        followers = [self.prebuilt.format(kernel=meta) for meta in self.metas]
        return tuple(name for name in (*names, *followers) if offered(name))

    def _built(self, offered: Callable[[str], bool]) -> tuple[str, ...]:
        if self.unsigned:
            raise StepBlocked(self.unsigned)
        headers = [HEADERS.format(kernel=kernel) for kernel in self.kernels]
        if not offered(headers[-1]):
            raise StepBlocked(
                f"no package source of this node has {headers[-1]}, which is needed to build the driver's module for"
                " the next boot's kernel. Install the archive's newest kernel, reboot, then try again"
            )
        followers = [HEADERS.format(kernel=meta) for meta in self.metas]
        return (*self.dkms, *(name for name in (*headers, *followers) if offered(name)))


NOUVEAU_FILE = "/etc/modprobe.d/bai-wizard-nouveau.conf"
NOUVEAU_TEXT = (
    "# Written by bai-wizard: NVIDIA's driver cannot have a GPU that nouveau holds.\n"
    "blacklist nouveau\n"
    "options nouveau modeset=0\n"
)
# Commands that rebuild the initial ramdisks. Ubuntu 26.04 has both programs and boots the output of dracut.
INITRAMFS_TOOLS = ("update-initramfs", "-u", "-k", "all")
DRACUT = ("dracut", "--force", "--regenerate-all")
DRACUTS_PATH = "/usr/bin/dracut"


class NouveauOff(DropIn, frozen=True, kw_only=True):
    """Keep nouveau from loading, also in the initial ramdisks, which load drivers very early.

    `kernel` is the release that boots next: its ramdisk has to be newer than the file.
    """

    kind: ClassVar[str] = "nouveau-off"
    is_slow: ClassVar[bool] = True
    path: str = NOUVEAU_FILE
    text: str = NOUVEAU_TEXT
    why: str = "disable nouveau for NVIDIA's driver; text consoles lose their high resolution"
    kernel: str
    effect: Effect = "reboot"

    def scope(self) -> tuple[Scope, ...]:
        return (
            *super().scope(),
            *above(self.path),
            file_key(self._ramdisk),
            command_key(DRACUT),
            command_key(INITRAMFS_TOOLS),
        )

    @property
    def _ramdisk(self) -> str:
        return f"/boot/initrd.img-{self.kernel}"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from missing_parent(view, self.path)
        yield from super().operations(view)
        if view.entry(self._ramdisk) is not None and view.newer(self.path, view.changed_at(self._ramdisk)):
            update = DRACUT if view.entry(DRACUTS_PATH) is not None else INITRAMFS_TOOLS
            yield RunCommand(
                update,
                title="rebuild the initial ramdisks",
                timeout=1800.0,
                cancel="finish",
                touches=(self._ramdisk,),
                undo=update,
                undo_last=True,
            )


FABRIC_MANAGER = "nvidia-fabricmanager.service"
# In the order in which they release each other.
NVIDIA_MODULES = ("nvidia_uvm", "nvidia_peermem", "nvidia_drm", "nvidia_modeset", "nvidia")
LOAD_MODULE = ("modprobe", "--", "nvidia")
UNLOAD_MODULES = ("modprobe", "--remove", "--")
NOUVEAU_DEVICES = "/sys/bus/pci/drivers/nouveau"
_OUR_MODULE = re.compile(r"(^|/)nvidia\.ko", re.MULTILINE)


class NvidiaLoad(Step, frozen=True, kw_only=True):
    """Load the module that the step `after` installed. Raises RebootNeeded if only a reboot can do it.

    `package` is the package that has the driver's version, `devices` are the GPUs' PCI addresses, and `running` and
    `next` the kernel releases.
    """

    kind: ClassVar[str] = "nvidia-load"
    package: str
    after: str
    devices: tuple[str, ...]
    running: str
    next: str
    effect: Effect = "now"
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)

    def describe(self) -> str:
        return "load NVIDIA's kernel module in the version of its libraries (may require a reboot)"

    def scope(self) -> tuple[Scope, ...]:
        some = (names for count in range(1, len(NVIDIA_MODULES) + 1) for names in combinations(NVIDIA_MODULES, count))
        return (
            file_key(MODULE_VERSION),
            unit_key(PERSISTENCED),
            unit_key(FABRIC_MANAGER),
            command_key(LOAD_MODULE),
            *(command_key((*UNLOAD_MODULES, *names)) for names in some),
        )

    def apply(self, node: Node) -> None:
        """Raise RebootNeeded if the old module is in use and cannot be unloaded."""
        was_loaded = node.view.entry(MODULE_VERSION) is not None
        try:
            super().apply(node)
        except StepFailed as error:
            if not was_loaded:
                raise
            raise RebootNeeded(
                f"another version of NVIDIA's module is loaded and in use ({error}). Reboot the node, then run"
                " `bai-wizard resume`"
            ) from error

    def operations(self, view: NodeView) -> Iterator[Operation]:
        package = view.package(self.package)
        if package is None:
            raise KnownAfterApply(self.after)
        held = [name for name in view.names(NOUVEAU_DEVICES) if name in self.devices]
        if held:
            raise RebootNeeded(
                f"nouveau controls GPU {held[0]} until the next boot. Reboot the node, then run `bai-wizard resume`"
            )
        loaded = view.text(MODULE_VERSION)
        wanted = upstream(package.version)
        if loaded is not None and wanted in ("", loaded.strip()):
            return
        if loaded is not None:
            yield from self._unload(view)
        elif not self._is_built(view):
            self._refuse(view)
        yield RunCommand(
            LOAD_MODULE,
            title="load NVIDIA's kernel module",
            timeout=120.0,
            touches=(MODULE_VERSION,),
            stays="NVIDIA's kernel module stays loaded until the next boot",
        )
        _verify_driver(view)

    def _is_built(self, view: NodeView) -> bool:
        return bool(_OUR_MODULE.search(view.text(f"/lib/modules/{self.running}/modules.dep") or ""))

    def _refuse(self, view: NodeView) -> None:
        if self.next and self.next != self.running:
            raise RebootNeeded(
                f"the running kernel {self.running} has no NVIDIA module, but the next boot's kernel {self.next}"
                " has one. Reboot the node, then run `bai-wizard resume`"
            )
        raise StepBlocked(
            f"the packages are installed, but kernel {self.running} has no nvidia.ko. See the error in"
            " /var/lib/dkms/nvidia/*/build/make.log; `dkms status` lists the kernels that have the module"
        )

    def _unload(self, view: NodeView) -> Iterator[Operation]:
        for name in (PERSISTENCED, FABRIC_MANAGER):
            unit = view.unit(name)
            if isinstance(unit, Unit) and unit.active == "active":
                yield SetUnit(name, None, False)
        loaded = view.names("/sys/module")
        yield RunCommand(
            (*UNLOAD_MODULES, *(name for name in NVIDIA_MODULES if name in loaded)),
            title="unload NVIDIA's old kernel modules",
            timeout=120.0,
            stays="the new kernel module stays loaded until the next boot",
        )


def _verify_driver(view: NodeView) -> None:
    """Verify that the driver responds. In a plan, reading the module first raises KnownAfterApply."""
    view.text(MODULE_VERSION)
    library = view.library("nvml")
    output = json_value(library.said) if library is not None and library.said else {}
    if output.get("error"):
        raise StepFailed(f"the module is loaded, but the driver reports: {output.get('message') or output['error']}")
