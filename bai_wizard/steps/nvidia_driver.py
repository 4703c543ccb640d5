"""NVIDIA's driver: its libraries, and kernel modules for the kernel that runs and the one that boots next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.apt import Packages

# The kernel module's own version; its directory is there only while the module is loaded.
MODULE = "/sys/module/nvidia/version"
PERSISTENCED = "nvidia-persistenced.service"
PERSISTENCED_FILE = f"/usr/lib/systemd/system/{PERSISTENCED}"
# What the driver's packages bring that later steps look at.
BRINGS = (f"file:{MODULE}", f"file:{PERSISTENCED_FILE}", f"unit:{PERSISTENCED}", "library:nvml")
HEADERS = "linux-headers-{kernel}"


@register
@dataclass(frozen=True, kw_only=True)
class NvidiaDriver(Step):
    """Installs `user`, and modules: prebuilt ones where the next kernel has them, else built here with DKMS.

    `prebuilt` names a package with {kernel} in it; empty where the source has none. `kernels` are releases, the next
    boot's last; `metas` the flavours whose newest modules or headers are to follow kernel upgrades. `unsigned` is why
    a module that is built here would not be loaded, empty where it would. `components` are the archive's parts.
    """

    kind: ClassVar[str] = "nvidia-driver"
    user: tuple[str, ...]
    prebuilt: str
    dkms: tuple[str, ...]
    kernels: tuple[str, ...]
    metas: tuple[str, ...] = ()
    unsigned: str = ""
    components: str = ""

    def describe(self) -> str:
        return f"NVIDIA's driver for the kernels {', '.join(self.kernels)}: {self.user[0]}"

    def scope(self) -> tuple[str, ...]:
        modules = self.prebuilt.partition("{")[0]
        return (
            *(f"package:{name}" for name in (*self.user, *self.dkms)),
            *([f"package:{modules}"] if modules else []),
            f"package:{HEADERS.partition('{')[0]}",
            *BRINGS,
        )

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        names = self.chosen(lambda name: view.package(name) is not None or view.candidate(name) is not None)
        yield from Packages(id=self.id, names=names, why="the driver", brings=BRINGS).primitives(view)

    def chosen(self, offered: Callable[[str], bool]) -> tuple[str, ...]:
        """The packages, by what is here or can be had. Raises StepBlocked where the driver cannot."""
        for name in self.user:
            if not offered(name):
                where = f" It is in the parts {self.components} of the archive: add them," if self.components else ""
                raise StepBlocked(
                    f"no source of this node offers the package {name}.{where or ' Look at the sources,'} then repeat"
                )
        return (*self.user, *(self._ready_made(offered) or self._built(offered)))

    def _ready_made(self, offered: Callable[[str], bool]) -> tuple[str, ...]:
        """Signed modules for each kernel that has them; none where the next boot's has none."""
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
                f"no source of this node offers {headers[-1]}, and without it the driver's module cannot be built for"
                " the kernel that boots next. Install the archive's newest kernel, restart, then repeat"
            )
        followers = [HEADERS.format(kernel=meta) for meta in self.metas]
        return (*self.dkms, *(name for name in (*headers, *followers) if offered(name)))
