"""NVIDIA's part of the plan. What needs no driver comes first, so that a reboot leaves little to be done after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Known, Unknown
from bai_wizard.core.step import Interrupt, Step
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia import data, fabric
from bai_wizard.pages.accelerators.vendors.nvidia.driver import Install, Keep, Refuse, decide, others
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.accelerators.vendors.nvidia.hold import hold
from bai_wizard.pages.accelerators.vendors.nvidia.sources import addresses_of, cuda_source, files_of, toolkit_source
from bai_wizard.pages.accelerators.vendors.nvidia.work import DRIVER, HOOK, LOAD, TOOLKIT, Work
from bai_wizard.steps.apt import NoPackages, PackageLists, Packages
from bai_wizard.steps.cuda_runtime import CudaRuntime
from bai_wizard.steps.nouveau_off import NouveauOff
from bai_wizard.steps.nvidia_cdi import NvidiaCdi
from bai_wizard.steps.nvidia_driver import NvidiaDriver
from bai_wizard.steps.nvidia_fabric import NvidiaFabric
from bai_wizard.steps.nvidia_load import NvidiaLoad
from bai_wizard.steps.nvidia_persistence import NvidiaPersistence
from bai_wizard.steps.nvidia_proof import NvidiaProof
from bai_wizard.steps.nvidia_versions import branch_of
from bai_wizard.steps.refusal import Refusal

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import NvidiaSettings

TOOLKIT_BRINGS = (f"file:{HOOK}", "unit:nvidia-cdi-refresh.path", "unit:nvidia-cdi-refresh.service")


@dataclass(frozen=True)
class Parts:
    """NVIDIA's steps: packages, then loading the driver, then what needs a loaded one.

    Docker's configuration, which all vendors share, is written between the first two; its restart comes before the
    last.
    """

    packages: tuple[Step, ...]
    load: tuple[Step, ...] = ()
    services: tuple[Step, ...] = ()


def parts(settings: NvidiaSettings, facts: NvidiaFacts, cards: tuple[Card, ...], context: Context) -> Parts:
    """The steps for the GPUs that are here."""
    decision = decide(settings, facts, (card.device for card in cards))
    if isinstance(decision, Refuse):
        return Parts((Refusal(id=DRIVER, title="NVIDIA's driver", reason=decision.reason),))
    work = Work(settings, facts, cards, decision)
    managers = fabric.packages(work)
    return Parts(
        packages=(*_libraries(work, context, managers), *_toolkit(work, context), *hold(work, managers)),
        load=_load(work),
        services=_services(work),
    )


def _libraries(work: Work, context: Context, managers: tuple[Step, ...]) -> tuple[Step, ...]:
    """Driver, fabric manager and CUDA, before a source is added that they do not need: so the plan can name them.

    With a bundle everything comes from there, and no repository is named.
    """
    driver, cuda = _driver(work), _cuda(work, context)
    if context.bundle:
        return (*driver, *managers, *cuda)
    from_nvidia = work.settings.source == "nvidia" and isinstance(work.facts.system, Known)
    source = cuda_source(work.settings, work.facts) if from_nvidia and (driver or cuda) else ()
    names = [name for step in driver if isinstance(step, NvidiaDriver) for name in step.user]
    names += [
        name for step in (*managers, *cuda) if isinstance(step, NvidiaFabric | CudaRuntime) for name in step.names
    ]
    return (*source, *_lists("accelerators.lists", work, source, names), *driver, *managers, *cuda)


def _toolkit(work: Work, context: Context) -> tuple[Step, ...]:
    """The container toolkit with its repository. A mirror is one repository with everything in it, named once."""
    names = data.toolkit()
    if not work.settings.container_toolkit or all(work.facts.version_of(name) for name in names):
        return ()
    packages = Packages(id=TOOLKIT, names=names, why="containers get the GPUs", brings=TOOLKIT_BRINGS)
    if context.bundle:
        return (packages,)
    in_mirror = bool(work.settings.apt_url) and work.settings.source == "nvidia"
    source = () if in_mirror else toolkit_source(work.settings, work.facts)
    return (*source, *_lists("accelerators.toolkit-lists", work, source, names), packages)


def _lists(id: str, work: Work, source: tuple[Step, ...], names: Sequence[str]) -> tuple[Step, ...]:
    if not names:
        return ()
    files, addresses = files_of(source), addresses_of(source, work.facts)
    return (PackageLists(id=id, packages=tuple(names), sources=files, addresses=addresses),)


def _driver(work: Work) -> tuple[Step, ...]:
    names, facts = work.names, work.facts
    if names is None or not isinstance(work.decision, Install):
        return ()
    found: list[Step] = []
    in_the_way = others(facts, work.decision)
    if in_the_way:
        found.append(
            NoPackages(
                id="accelerators.other-driver",
                names=in_the_way,
                why=f"removed, for they cannot be beside the driver {work.decision.branch} ({work.decision.flavour})",
                interrupts=("gpu.reload",),
            )
        )
    if facts.nouveau:
        found.append(NouveauOff(id="accelerators.nouveau", kernel=facts.kernels.next))
    interrupts: tuple[Interrupt, ...] = ("gpu.reload",) if isinstance(facts.loaded, Known) else ()
    found.append(
        NvidiaDriver(
            id=DRIVER,
            user=names.user,
            prebuilt=names.prebuilt,
            dkms=names.dkms,
            kernels=facts.kernels.all,
            metas=facts.kernels.metas,
            unsigned=_unsigned(facts),
            components=data.components(work.decision.source),
            interrupts=interrupts,
        )
    )
    return tuple(found)


def _unsigned(facts: NvidiaFacts) -> str:
    """Why a module that is built on this node would not be loaded; empty where it would."""
    if facts.may_sign == Known(True) or isinstance(facts.secure_boot, Absent) or facts.secure_boot == Known(False):
        return ""
    if isinstance(facts.secure_boot, Unknown):
        return f"nobody can tell whether Secure Boot is on: {facts.secure_boot.reason}"
    return (
        "Secure Boot is on, this system has no signed module of NVIDIA's for the kernel, and the firmware does not"
        " trust one that is built here. Enrol this node's own key (mokutil --import /var/lib/dkms/mok.pub, or"
        " /var/lib/shim-signed/mok/MOK.der; it is confirmed at the console during the next boot), or switch Secure"
        " Boot off in the firmware, then repeat"
    )


def _cuda(work: Work, context: Context) -> tuple[Step, ...]:
    """Only agents load it, so only compute nodes get it."""
    wish = work.settings.cuda_toolkit
    if wish == "none" or "compute" not in context.roles or not work.source:
        return ()
    if wish == "runtime" and not isinstance(work.facts.cudart, Absent):
        return ()
    extent: Literal["runtime", "full"] = "full" if wish == "full" else "runtime"
    branch = work.decision.branch if isinstance(work.decision, Install) else branch_of(work.decision.version)
    names = data.cuda_packages(work.source, extent, branch or data.long_term_branch())
    return (CudaRuntime(id="accelerators.cuda", names=names, wanted=extent == "full"),)


def _load(work: Work) -> tuple[Step, ...]:
    if work.names is None:
        return ()
    return (
        NvidiaLoad(
            id=LOAD,
            package=work.names.version_of,
            after=DRIVER,
            devices=tuple(card.address for card in work.cards),
            running=work.facts.kernels.running,
            next=work.facts.kernels.next,
        ),
    )


def _services(work: Work) -> tuple[Step, ...]:
    """What only a loaded driver can have."""
    if work.facts.container or (isinstance(work.decision, Keep) and not work.decision.version):
        return ()
    found: list[Step] = [*fabric.service(work)]
    if work.settings.persistence:
        package = work.names.version_of if work.names is not None else ""
        found.append(NvidiaPersistence(id="accelerators.persistence", package=package, after=DRIVER))
    if work.settings.container_toolkit:
        if work.settings.cdi:
            found.append(NvidiaCdi(id="accelerators.cdi", after=LOAD))
        found.append(NvidiaProof(id="accelerators.proof", image=work.facts.image, cdi=work.settings.cdi))
    return tuple(found)
