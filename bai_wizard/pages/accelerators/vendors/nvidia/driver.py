"""Which driver a node is to have: the one that is there, a branch to install, or none that would work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bai_wizard.core.facts import Absent, Known, Unknown
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.data import Flavour, Generation
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.steps.nvidia_versions import branch_of

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import NvidiaSettings


@dataclass(frozen=True)
class Keep:
    """The driver stays as it is. `version` is the loaded one, empty where none is."""

    version: str = ""


@dataclass(frozen=True)
class Install:
    """A driver branch with one flavour of kernel modules, from the table `source` of the data file."""

    source: str
    branch: str
    flavour: Flavour


@dataclass(frozen=True)
class Refuse:
    """Nothing can be done here, for a reason that people can act on."""

    reason: str


Decision = Keep | Install | Refuse


def decide(settings: NvidiaSettings, facts: NvidiaFacts, devices: Iterable[int]) -> Decision:
    """What to do about the driver, by the answers and by what is here. `devices` are the GPUs' PCI device ids."""
    loaded = facts.loaded.value if isinstance(facts.loaded, Known) else ""
    if settings.driver == "keep" or facts.container:
        return Keep(loaded)
    same_branch = settings.driver in ("auto", branch_of(loaded))
    devices = tuple(devices)
    if facts.is_healthy and same_branch and not is_wrong_kind(facts, devices):
        return Keep(loaded)
    if isinstance(facts.nvml, Unknown) and loaded and settings.driver == "auto":
        return Refuse(
            f"the driver {loaded} is loaded but gives no answer ({facts.nvml.reason}). A new one would not help a"
            " driver that hangs: look at «bai-wizard doctor» and at the kernel's log, restart the node, then repeat"
        )
    if facts.runfile and not _from_packages(facts):
        return Refuse(
            f"NVIDIA's own installer has put a driver here ({facts.runfile}), and packages would be mixed with its"
            ' files. Run «nvidia-uninstall» first, or take accelerators.nvidia.driver = "keep"'
        )
    return _install(settings, facts, devices)


def is_wrong_kind(facts: NvidiaFacts, devices: Iterable[int]) -> bool:
    """True when closed modules are loaded for GPUs that need open ones, or the other way round."""
    needs = {one.open for device in devices if (one := data.generation(device)) is not None}
    return isinstance(facts.loaded, Known) and ("no" if facts.is_open else "only") in needs


def _install(settings: NvidiaSettings, facts: NvidiaFacts, devices: tuple[int, ...]) -> Decision:
    if isinstance(facts.system, Unknown | Absent):
        told = facts.system.reason if isinstance(facts.system, Unknown) else "this system is not known"
        return Refuse(f"{told}: no packages of NVIDIA's are known for it")
    system = facts.system.value
    source = data.source_key(system.os, system.codename, settings.source)
    if not data.has_source(source):
        return Refuse(f"no packages of NVIDIA's are known for {system.os} {system.version}")
    branch = _branch(settings, facts, source)
    generations = {one.name: one for device in devices if (one := data.generation(device)) is not None}
    flavour = _flavour(settings, tuple(generations.values()))
    if isinstance(flavour, Refuse):
        return flavour
    return _misfit(source, branch, tuple(generations.values())) or Install(source, branch, flavour)


def _branch(settings: NvidiaSettings, facts: NvidiaFacts, source: str) -> str:
    """The asked-for branch; else the one whose packages are here already; else the long-term one."""
    if settings.driver != "auto":
        return settings.driver
    return data.only_branch(source) or installed_branch(facts) or data.long_term_branch()


def _flavour(settings: NvidiaSettings, generations: tuple[Generation, ...]) -> Flavour | Refuse:
    closed = [one.name for one in generations if one.open == "no"]
    only_open = [one.name for one in generations if one.open == "only"]
    if closed and only_open:
        return Refuse(
            f"{only_open[0]} GPUs need the open kernel modules and {closed[0]} GPUs the closed ones: no driver serves"
            " both in one node. Take one kind of card out"
        )
    if settings.flavour == "server" and only_open:
        return Refuse(f'{only_open[0]} GPUs need the open kernel modules: take flavour = "auto" or "server-open"')
    if settings.flavour == "server-open" and closed:
        return Refuse(f'{closed[0]} GPUs need the closed kernel modules: take flavour = "auto" or "server"')
    if settings.flavour != "auto":
        return settings.flavour
    return "server" if closed else "server-open"


def _misfit(source: str, branch: str, generations: tuple[Generation, ...]) -> Refuse | None:
    only = data.only_branch(source)
    if only and branch != only:
        return Refuse(
            f'this distribution has the driver branch {only} and not {branch}: take driver = "{only}", or'
            ' source = "nvidia"'
        )
    for one in generations:
        if one.first and int(branch) < one.first:
            return Refuse(
                f"{one.name} GPUs need the driver branch {one.first} or a later one, and {branch} is older"
                + ('. Take source = "nvidia"' if only else "")
            )
        if one.last and int(branch) > one.last:
            return Refuse(
                f'{one.name} GPUs are served up to the driver branch {one.last}: take driver = "{one.last}"'
            )
    return None


def installed_branch(facts: NvidiaFacts) -> str:
    """The branch of the driver's packages that are here; empty for none."""
    for name, version in facts.packages:
        if name.startswith(("libnvidia-compute", "libnvidia-ml1", "nvidia-driver-cuda")):
            return branch_of(version)
    return ""


def others(facts: NvidiaFacts, wanted: Install) -> tuple[str, ...]:
    """Installed packages that carry another branch, or another flavour of modules, in their names.

    They cannot be there together with the wanted ones. Packages without a branch in the name are upgraded in place.
    """
    found = []
    for name, _ in facts.packages:
        branch = _NAMED_BRANCH.search(name)
        if branch is None or not name.startswith(DRIVER_PACKAGES):
            continue
        is_open = "-open" in name
        other_flavour = name.startswith(MODULE_PACKAGES) and is_open != (wanted.flavour == "server-open")
        if branch[1] != wanted.branch or other_flavour:
            found.append(name)
    return tuple(found)


DRIVER_PACKAGES = ("nvidia-", "libnvidia-", "linux-modules-nvidia-", "linux-objects-nvidia-", "cuda-drivers-")
MODULE_PACKAGES = (
    "nvidia-dkms-",
    "nvidia-kernel-source-",
    "nvidia-headless-",
    "nvidia-driver-",
    "linux-modules-nvidia-",
    "linux-objects-nvidia-",
)
_NAMED_BRANCH = re.compile(r"-(\d{3})(?=-|$)")


def _from_packages(facts: NvidiaFacts) -> bool:
    return bool(installed_branch(facts))
