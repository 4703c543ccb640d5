"""Steps around NVIDIA's driver: CUDA, fabric manager, persistence, CDI, holds, and the final test in a container."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.consent import Interrupt
from bai_wizard.core.errors import KnownAfterApply, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Missing, Operation, Scope, above
from bai_wizard.core.state import RELOAD, Key, command_key, file_key, package_key, restart_key, unit_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.pages.accelerators.nvidia.driver_steps import FABRIC_MANAGER, MODULE_VERSION, PERSISTENCED, upstream
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.files import MakeDirectory, WriteFile
from bai_wizard.resources.packages import HoldPackages, InstallPackages
from bai_wizard.resources.units import RestartUnit, SetUnit
from bai_wizard.steps.files import DropIn, missing_parent
from bai_wizard.steps.packages import Packages
from bai_wizard.steps.services import Service, unit_settings

CUDA_LIBRARY = "cudart"


class CudaRuntime(Step, frozen=True, kw_only=True):
    """Install `names` unless a library can already be loaded. `wanted` requests the packages in any case."""

    kind: ClassVar[str] = "cuda-runtime"
    is_slow: ClassVar[bool] = True
    names: tuple[str, ...]
    wanted: bool = False

    def describe(self) -> str:
        return f"install the CUDA runtime library for the agent: {' '.join(self.names)}"

    def scope(self) -> tuple[Scope, ...]:
        return (*(package_key(name) for name in self.names), Key("library", CUDA_LIBRARY))

    def note(self, view: NodeView) -> Unchanged:
        library = view.library(CUDA_LIBRARY)
        return Unchanged(f"{library.said} {library.version}" if library is not None else "")

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.wanted or view.library(CUDA_LIBRARY) is None:
            brings = (f"library:{CUDA_LIBRARY}",)
            yield from Packages(id=self.id, names=self.names, why="install CUDA", brings=brings).operations(view)
            if view.library(CUDA_LIBRARY) is None:
                raise StepBlocked(
                    f"{' '.join(self.names)} is installed, but programs cannot load libcudart. Run `ldconfig`, check"
                    " that `ldconfig -p` lists libcudart.so, then try again"
                )


class NvidiaFabric(Step, frozen=True, kw_only=True):
    """Install `names` in NVIDIA's `version`; if empty, that of `package`, which the step `after` installs.

    `where_offered` are packages that are left out if no source has them in that version.
    """

    kind: ClassVar[str] = "nvidia-fabric"
    is_slow: ClassVar[bool] = True
    omitted_if_default: ClassVar[tuple[str, ...]] = ("purpose", "where_offered")
    purpose: str = "install the fabric manager"
    names: tuple[str, ...]
    version: str = ""
    package: str = ""
    after: str = ""
    where_offered: tuple[str, ...] = ()
    # The package restarts the service, which ends jobs that use NVLink.
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)

    def describe(self) -> str:
        return f"{self.purpose} in the driver's version {self.version}".rstrip()

    def scope(self) -> tuple[Scope, ...]:
        return (*(package_key(name) for name in (*self.names, *self.where_offered)), unit_key(FABRIC_MANAGER))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        version = self.version or self._drivers(view)
        offered = [name for name in self.where_offered if upstream(view.candidate(name) or "") == version]
        existing = {name: view.package(name) for name in (*self.names, *offered)}
        wrong = [
            name for name, package in existing.items() if package is None or upstream(package.version) != version
        ]
        held = tuple(name for name in wrong if (package := existing[name]) is not None and package.held)
        if held:
            yield HoldPackages(held, False)
        if wrong:
            yield InstallPackages(tuple(wrong), (f"{version}-*",) * len(wrong), (f"unit:{FABRIC_MANAGER}",))

    def _drivers(self, view: NodeView) -> str:
        package = view.package(self.package)
        version = upstream(package.version) if package is not None else ""
        if not version:
            raise KnownAfterApply(self.after)
        return version


class FabricManager(Service, frozen=True, kw_only=True):
    """The fabric manager's service. It is part of `package`, which the step `after` installs."""

    kind: ClassVar[str] = "fabric-manager"
    unit: str = FABRIC_MANAGER
    # Also when this is undone.
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)
    package: str
    after: str

    def describe(self) -> str:
        return f"start {self.unit}"

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if view.package(self.package) is None:
            raise KnownAfterApply(self.after)
        yield from super().operations(view)


PERSISTENCE_DROP_IN = f"/etc/systemd/system/{PERSISTENCED}.d/bai-wizard.conf"
PERSISTENCE_OFF = "--no-persistence-mode"


class NvidiaPersistence(Step, frozen=True, kw_only=True):
    """Enabled and running in persistence mode, which Ubuntu's unit disables.

    It is part of `package`, which the step `after` installs; empty if the driver is already installed.
    """

    kind: ClassVar[str] = "nvidia-persistence"
    package: str = ""
    after: str = ""
    # systemd reloads its files, which detaches GPUs from running containers.
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",)

    def describe(self) -> str:
        return "run the persistence daemon, which keeps the driver initialized"

    def scope(self) -> tuple[Scope, ...]:
        return (
            file_key(PERSISTENCE_DROP_IN),
            *above(PERSISTENCE_DROP_IN),
            unit_key(PERSISTENCED),
            restart_key(PERSISTENCED),
            RELOAD,
        )

    def note(self, view: NodeView) -> Unchanged:
        if view.unit(PERSISTENCED) is None:
            return Unchanged("the installed driver does not include the daemon", skipped=True)
        return Unchanged()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.package and view.package(self.package) is None:
            raise KnownAfterApply(self.after)
        if view.unit(PERSISTENCED) is None:
            return
        starts = [
            one.value
            for one in unit_settings(view, PERSISTENCED, "Service", "ExecStart")
            if one.path != PERSISTENCE_DROP_IN
        ]
        reads: tuple[str, ...] = ()
        if starts and PERSISTENCE_OFF in starts[-1]:
            command = starts[-1].replace(PERSISTENCE_OFF, "--persistence-mode")
            text = f"# Written by bai-wizard.\n[Service]\nExecStart=\nExecStart={command}\n"
            drop_in = DropIn(id=self.id, path=PERSISTENCE_DROP_IN, text=text, why="enable persistence mode")
            yield from missing_parent(view, PERSISTENCE_DROP_IN)
            yield from drop_in.operations(view)
            reads = (PERSISTENCE_DROP_IN,)
        yield from Service(id=self.id, unit=PERSISTENCED, reads=reads).operations(view)


# The toolkit's own service (1.18 and later) writes the first; the second is an administrator's and takes precedence.
CDI_GENERATED = "/run/cdi/nvidia.yaml"
CDI_WRITTEN = "/etc/cdi/nvidia.yaml"
CDI_REFRESH = "nvidia-cdi-refresh.service"
CDI_WATCH = "nvidia-cdi-refresh.path"
GENERATE_CDI = ("nvidia-ctk", "cdi", "generate", f"--output={CDI_WRITTEN}")


class NvidiaCdi(Step, frozen=True, kw_only=True):
    """Generate the specification if it is missing or refers to another driver's libraries."""

    kind: ClassVar[str] = "nvidia-cdi"
    after: str = ""

    def describe(self) -> str:
        return "generate the CDI specification of the GPUs for containers"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(CDI_WRITTEN), unit_key(CDI_WATCH), restart_key(CDI_REFRESH), command_key(GENERATE_CDI))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        loaded = view.text(MODULE_VERSION)
        if loaded is None:
            raise KnownAfterApply(self.after)
        if view.unit(CDI_WATCH) is not None:
            yield SetUnit(CDI_WATCH, True, True)
        written, generated = view.text(CDI_WRITTEN), view.text(CDI_GENERATED)
        if loaded.strip() in ((written if written is not None else generated) or ""):
            return
        if written is None and view.unit(CDI_REFRESH) is not None:
            yield RestartUnit(CDI_REFRESH, "no CDI specification for the loaded driver")
            return
        yield RunCommand(GENERATE_CDI, title="generate the CDI specification", timeout=60.0, touches=(CDI_WRITTEN,))


class PackageHold(Step, frozen=True, kw_only=True):
    """Hold the installed packages of `names`: known once `first` is installed by the step `after`.

    Held packages get no security fixes either, as the plan says.
    """

    kind: ClassVar[str] = "held"
    names: tuple[str, ...]
    first: str = ""
    after: str = ""

    def describe(self) -> str:
        return (
            "hold driver, modules, kernel and toolkit, so that they are upgraded together; a hold also stops security"
            " updates (release: apt-mark unhold)"
        )

    def scope(self) -> tuple[Scope, ...]:
        return tuple(package_key(name) for name in self.names)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self.first and view.package(self.first) is None:
            raise KnownAfterApply(self.after)
        free = tuple(name for name in self.names if (package := view.package(name)) is not None and not package.held)
        if free:
            yield HoldPackages(free)


# Survives a reboot between setup and test. Not in the wizard's own directory, which the first run creates between its
# plan and its first step.
PROOF_MARK = "/var/lib/misc/bai-wizard-gpu-proof"
PROOF_WANTED = "wanted\n"


class ProofWanted(Step, frozen=True, kw_only=True):
    """Record that the setup is about to change, so that it has to be tested once it is complete.

    Changes nothing once the engine's configuration contains the runtime.
    """

    kind: ClassVar[str] = "proof-wanted"
    config: str
    runtime: str

    def describe(self) -> str:
        return "schedule a test of the GPUs in a container"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(PROOF_MARK), Missing(file_key(dirname(PROOF_MARK))))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if f'"{self.runtime}"' in (view.text(self.config) or ""):
            return
        if view.entry(dirname(PROOF_MARK)) is None:
            yield MakeDirectory(dirname(PROOF_MARK))
        yield WriteFile(PROOF_MARK, PROOF_WANTED.encode())


class NvidiaProof(Step, frozen=True, kw_only=True):
    """Start one container of `image` and list the GPUs in it with the driver's own nvidia-smi.

    Without a local image, it reports "not proven" and completes.
    """

    kind: ClassVar[str] = "nvidia-proof"
    image: str
    cdi: bool = False
    optional: bool = True

    def describe(self) -> str:
        return f"test the GPUs in a container ({self.image})" if self.image else "not tested: no suitable image"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(PROOF_MARK), command_key(self._list_gpus()))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if view.text(PROOF_MARK) != PROOF_WANTED:
            return
        if self.image:
            yield RunCommand(self._list_gpus(), title="list the GPUs in a container", timeout=120.0)
        yield WriteFile(PROOF_MARK, f"{'proven with ' + self.image if self.image else 'not proven'}\n".encode())

    def _list_gpus(self) -> tuple[str, ...]:
        devices = ("--device", "nvidia.com/gpu=all") if self.cdi else ("--runtime", "nvidia")
        variables = ("-e", "NVIDIA_VISIBLE_DEVICES=all", "-e", "NVIDIA_DRIVER_CAPABILITIES=utility")
        run = ("docker", "run", "--rm", "--pull=never", "--network=none", *devices, *variables)
        return (*run, "--entrypoint", "nvidia-smi", self.image, "-L")
