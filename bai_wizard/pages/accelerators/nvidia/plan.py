"""NVIDIA's part of the plan. Steps that need no driver come first, so that little remains after a reboot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bai_wizard.core.page import Absent, Context, Known, Unknown, Unsupported
from bai_wizard.core.step import Interrupt, Step
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import Card, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia import Repository, nvlink_steps
from bai_wizard.pages.accelerators.nvidia.driver import (
    DRIVER,
    HOOK,
    LOAD,
    TOOLKIT,
    Install,
    Keep,
    Refuse,
    Work,
    decide,
    others,
)
from bai_wizard.pages.accelerators.nvidia.driver_steps import (
    NouveauOff,
    NvidiaDriver,
    NvidiaLoad,
    branch_of,
)
from bai_wizard.pages.accelerators.nvidia.fabric import fabric_packages, fabric_service, imex_packages, wants_fabric
from bai_wizard.pages.accelerators.nvidia.holds import hold
from bai_wizard.pages.accelerators.nvidia.steps import (
    CudaRuntime,
    NvidiaCdi,
    NvidiaFabric,
    NvidiaPersistence,
    NvidiaProof,
)
from bai_wizard.pages.accelerators.settings import NvidiaSettings
from bai_wizard.steps.apt_sources import AptKey, AptSource
from bai_wizard.steps.packages import NoPackages, PackageLists, Packages


def toolkit_source(settings: NvidiaSettings, facts: NvidiaFacts) -> tuple[Step, ...]:
    """Return the container toolkit's repository, or the site's own mirror."""
    repository = nvidia.toolkit_repository(settings.apt_url)
    text = _given_key(facts) or repository.key
    return _repository_steps("nvidia-container-toolkit", repository, text, "", facts, "NVIDIA's container toolkit")


def cuda_source(settings: NvidiaSettings, facts: NvidiaFacts) -> tuple[Step, ...]:
    """Return the repository of drivers and CUDA."""
    assert isinstance(facts.system, Known)
    system = facts.system.value
    repository = nvidia.cuda_repository(system.os, system.version, system.architecture, settings.apt_url)
    if repository is None:
        reason = (
            f"NVIDIA has no repository for {system.os} {system.version} ({system.architecture}): set"
            ' accelerators.nvidia.source = "distribution"'
        )
        return (Unsupported(id="accelerators.cuda-source", title="add NVIDIA's package repository", reason=reason),)
    missing = facts.key.reason if isinstance(facts.key, Unknown) else f"fetch {repository.key_url}"
    return _repository_steps("nvidia-cuda", repository, _given_key(facts), missing, facts, "NVIDIA's driver and CUDA")


def _given_key(facts: NvidiaFacts) -> str:
    """A key that was given in the answers or fetched; the step compares its fingerprint."""
    return facts.key.value if isinstance(facts.key, Known) else ""


def _repository_steps(
    name: str, repository: Repository, key: str, missing: str, facts: NvidiaFacts, why: str
) -> tuple[Step, ...]:
    keyring = f"/etc/apt/keyrings/{name}.asc"
    architecture = _architecture(facts)
    return (
        AptKey(
            id=f"accelerators.{name}-key", path=keyring, text=key, fingerprint=repository.fingerprint, missing=missing
        ),
        AptSource(
            id=f"accelerators.{name}-source",
            path=f"/etc/apt/sources.list.d/{name}.sources",
            uri=repository.url,
            suite="/",
            components=(),
            architectures=(architecture,) if architecture else (),
            signed_by=keyring,
            why=f"{why}, verified with NVIDIA's own key",
        ),
    )


def _architecture(facts: NvidiaFacts) -> str:
    return facts.system.value.architecture if isinstance(facts.system, Known) else ""


TOOLKIT_BRINGS = (f"file:{HOOK}", "unit:nvidia-cdi-refresh.path", "unit:nvidia-cdi-refresh.service")


class Parts(Struct, frozen=True):
    """NVIDIA's steps: packages, then loading the driver, then steps that need a loaded driver.

    Docker's configuration, which all vendors share, is written between the first two; it is restarted before the
    last.
    """

    packages: tuple[Step, ...]
    load: tuple[Step, ...] = ()
    services: tuple[Step, ...] = ()


def parts(settings: NvidiaSettings, facts: NvidiaFacts, cards: tuple[Card, ...], context: Context) -> Parts:
    """Return the steps for the GPUs of this node."""
    decision = decide(settings, facts, (card.device for card in cards))
    if isinstance(decision, Refuse):
        return Parts((Unsupported(id=DRIVER, title="install the NVIDIA driver", reason=decision.reason),))
    work = Work(settings, facts, cards, decision)
    managers = (*fabric_packages(work), *imex_packages(work))
    return Parts(
        packages=(*_libraries(work, context, managers), *_toolkit(work, context), *hold(work, managers)),
        load=(load_step(facts, cards, work.names.version_of, DRIVER),) if work.names is not None else (),
        services=_services(work),
    )


def _libraries(work: Work, context: Context, managers: tuple[Step, ...]) -> tuple[Step, ...]:
    """Driver, fabric manager and CUDA, before adding a source that they do not need: the plan can then show them.

    With a bundle all packages come from the bundle, and no repository is added.
    """
    driver, cuda = _driver(work), _cuda(work, context)
    links = nvlink_steps.nvlink5(work.facts) if wants_fabric(work) else ()
    if context.bundle:
        return (*links, *driver, *managers, *cuda)
    from_nvidia = work.settings.source == "nvidia" and isinstance(work.facts.system, Known)
    source = cuda_source(work.settings, work.facts) if from_nvidia and (driver or managers or links or cuda) else ()
    names = [name for step in driver if isinstance(step, Packages) for name in step.names]
    names += [name for step in driver if isinstance(step, NvidiaDriver) for name in step.user]
    names += [
        name
        for step in (*(links if from_nvidia else ()), *managers, *cuda)
        if isinstance(step, NvidiaFabric | CudaRuntime | nvlink_steps.SubnetManager)
        for name in step.names
    ]
    return (*source, *_lists("accelerators.lists", work, source, names), *links, *driver, *managers, *cuda)


def _toolkit(work: Work, context: Context) -> tuple[Step, ...]:
    """The container toolkit with its repository. A mirror is one repository with all packages, added only once."""
    names = nvidia.data().toolkit
    if not work.settings.container_toolkit or all(work.facts.version_of(name) for name in names):
        return ()
    packages = Packages(id=TOOLKIT, names=names, why="install the NVIDIA Container Toolkit", brings=TOOLKIT_BRINGS)
    if context.bundle:
        return (packages,)
    in_mirror = bool(work.settings.apt_url) and work.settings.source == "nvidia"
    source = () if in_mirror else toolkit_source(work.settings, work.facts)
    return (*source, *_lists("accelerators.toolkit-lists", work, source, names), packages)


def _lists(id: str, work: Work, source: tuple[Step, ...], names: Sequence[str]) -> tuple[Step, ...]:
    if not names:
        return ()
    # Package lists older than these files are out of date; apt prints the addresses in its messages.
    files = tuple(step.path for step in source if isinstance(step, AptKey | AptSource))
    architecture = _architecture(work.facts)
    addresses = tuple(step.uri.replace("$(ARCH)", architecture) for step in source if isinstance(step, AptSource))
    return (PackageLists(id=id, packages=tuple(names), sources=files, addresses=addresses),)


def _driver(work: Work) -> tuple[Step, ...]:
    names, facts = work.names, work.facts
    if names is None or not isinstance(work.decision, Install):
        return ()
    steps: list[Step] = []
    blocking = others(facts, work.decision)
    if blocking:
        steps.append(
            NoPackages(
                id="accelerators.other-driver",
                names=blocking,
                why=f"remove packages that conflict with driver {work.decision.branch} ({work.decision.flavour})",
                interrupts=("gpu.reload",),
            )
        )
    if facts.nouveau:
        steps.append(NouveauOff(id="accelerators.nouveau", kernel=facts.kernels.next))
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",) if isinstance(facts.loaded, Known) else ()
    if names.pinning:
        why = f"keep apt in driver branch {work.decision.branch}"
        steps.append(Packages(id="accelerators.pinning", names=(names.pinning,), why=why))
    steps.append(
        NvidiaDriver(
            id=DRIVER,
            user=names.user,
            prebuilt=names.prebuilt,
            dkms=names.dkms,
            kernels=facts.kernels.all,
            metas=facts.kernels.metas,
            unsigned=_unsigned(facts),
            components=nvidia.data().source[work.decision.source].components,
            version=names.version,
            interrupts=interrupts,
        )
    )
    return tuple(steps)


def _unsigned(facts: NvidiaFacts) -> str:
    """Why a module built on this node would not be loaded; empty if it would."""
    if facts.may_sign == Known(True) or isinstance(facts.secure_boot, Absent) or facts.secure_boot == Known(False):
        return ""
    if isinstance(facts.secure_boot, Unknown):
        return f"cannot determine whether Secure Boot is enabled: {facts.secure_boot.reason}"
    return (
        "Secure Boot is enabled, no signed NVIDIA module is available for the kernel, and the firmware does not trust"
        " a module built on this node. Enroll the node's own key (`mokutil --import /var/lib/dkms/mok.pub`, or"
        " /var/lib/shim-signed/mok/MOK.der; confirm it at the console during the next boot), or disable Secure Boot"
        " in the firmware, then try again"
    )


def _cuda(work: Work, context: Context) -> tuple[Step, ...]:
    """CUDA, only on compute nodes: only agents load it."""
    desired = work.settings.cuda_toolkit
    if desired == "none" or "compute" not in context.roles or not work.source:
        return ()
    if desired == "runtime" and not isinstance(work.facts.cudart, Absent):
        return ()
    extent: Literal["runtime", "full"] = "full" if desired == "full" else "runtime"
    branch = work.decision.branch if isinstance(work.decision, Install) else branch_of(work.decision.version)
    oldest = ""
    if work.settings.source == "nvidia" and isinstance(work.facts.system, Known):
        oldest = nvidia.oldest(work.facts.system.value.os, work.facts.system.value.version)[1]
    names = nvidia.cuda_packages(work.source, extent, branch or nvidia.data().branch, oldest)
    return (CudaRuntime(id="accelerators.cuda", names=names, wanted=extent == "full"),)


def load_step(facts: NvidiaFacts, cards: tuple[Card, ...], package: str, after: str = "") -> NvidiaLoad:
    """Return the step that loads the module in the version of `package`, which the step `after` installs."""
    return NvidiaLoad(
        id=LOAD,
        package=package,
        after=after,
        devices=tuple(card.address for card in cards),
        running=facts.kernels.running,
        next=facts.kernels.next,
    )


def _services(work: Work) -> tuple[Step, ...]:
    """Services that need a loaded driver."""
    if work.facts.container or (isinstance(work.decision, Keep) and not work.decision.version):
        return ()
    steps: list[Step] = [*fabric_service(work)]
    if work.settings.persistence:
        package = work.names.version_of if work.names is not None else ""
        steps.append(NvidiaPersistence(id="accelerators.persistence", package=package, after=DRIVER))
    if work.settings.container_toolkit:
        if work.settings.cdi:
            steps.append(NvidiaCdi(id="accelerators.cdi", after=LOAD))
        steps.append(NvidiaProof(id="accelerators.proof", image=work.facts.image, cdi=work.settings.cdi))
    return tuple(steps)
