"""Which driver a node gets: the existing one, a branch to install, or none that would work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from bai_wizard.core.page import Absent, Known, Unknown, value_or
from bai_wizard.core.parse import whole
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import FABRIC_PACKAGES, Card, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia import Flavour, Generation
from bai_wizard.pages.accelerators.nvidia.driver_steps import branch_of, upstream
from bai_wizard.pages.accelerators.settings import NvidiaSettings


class Keep(Struct, frozen=True):
    """The driver is kept. `version` is the loaded one, or empty."""

    version: str = ""


class Install(Struct, frozen=True):
    """A driver branch with one variant of kernel modules, from the table `source` of the data file."""

    source: str
    branch: str
    flavour: Flavour


class Refuse(Struct, frozen=True):
    """Nothing can be done here, for a reason that the user can resolve."""

    reason: str


Decision = Keep | Install | Refuse


def decide(settings: NvidiaSettings, facts: NvidiaFacts, devices: Iterable[int]) -> Decision:
    """Decide about the driver from answers and current state. `devices` are the GPUs' PCI device ids."""
    loaded = facts.loaded.value if isinstance(facts.loaded, Known) else ""
    if settings.driver == "keep" or facts.container:
        return Keep(loaded)
    same_branch = settings.driver in ("auto", branch_of(loaded))
    devices = tuple(devices)
    if facts.is_healthy and same_branch and not is_wrong_kind(facts, devices):
        return Keep(loaded)
    if isinstance(facts.nvml, Unknown) and loaded and settings.driver == "auto":
        return Refuse(
            f"driver {loaded} is loaded but does not respond ({facts.nvml.reason}). Reinstalling does not fix a"
            " hung driver: run `bai-wizard doctor`, check the kernel log, reboot the node, then try again"
        )
    if facts.runfile and not installed_branch(facts):
        return Refuse(
            f"a driver was installed with NVIDIA's .run installer ({facts.runfile}), and packages would conflict with"
            ' its files. Run `nvidia-uninstall` first, or set accelerators.nvidia.driver = "keep"'
        )
    return _install(settings, facts, devices)


def is_wrong_kind(facts: NvidiaFacts, devices: Iterable[int]) -> bool:
    """Whether closed modules are loaded for GPUs that need open ones, or the reverse."""
    needs = {each.open for each in nvidia.generations(devices)}
    return isinstance(facts.loaded, Known) and ("no" if facts.is_open else "only") in needs


def _install(settings: NvidiaSettings, facts: NvidiaFacts, devices: tuple[int, ...]) -> Decision:
    if isinstance(facts.system, Unknown | Absent):
        message = facts.system.reason if isinstance(facts.system, Unknown) else "unknown system"
        return Refuse(f"{message}: no NVIDIA packages are known for it")
    system = facts.system.value
    source = nvidia.source_key(system.os, system.codename, settings.source)
    if not source:
        return Refuse(f"no NVIDIA packages are known for {system.os} {system.version}")
    least = nvidia.oldest(system.os, system.version)[0] if settings.source == "nvidia" else ""
    branch = _branch(settings, facts, source, least)
    if whole(branch) < whole(least or 0):
        return Refuse(f"NVIDIA's repository for {system.os} {system.version} has driver branches from {least} on")
    generations = nvidia.generations(devices)
    flavour = _flavour(settings, generations)
    if isinstance(flavour, Refuse):
        return flavour
    return _misfit(source, branch, generations) or Install(source, branch, flavour)


def _branch(settings: NvidiaSettings, facts: NvidiaFacts, source: str, least: str) -> str:
    """The requested branch; else that of the installed packages; else the long-term branch, or `least` if newer."""
    if settings.driver != "auto":
        return settings.driver
    long_term = max(nvidia.data().branch, least, key=lambda branch: whole(branch or 0))
    return nvidia.data().source[source].branch or installed_branch(facts) or long_term


def _flavour(settings: NvidiaSettings, generations: tuple[Generation, ...]) -> Flavour | Refuse:
    closed = [one.name for one in generations if one.open == "no"]
    only_open = [one.name for one in generations if one.open == "only"]
    if closed and only_open:
        return Refuse(
            f"{only_open[0]} GPUs need the open kernel modules and {closed[0]} GPUs the closed ones: no driver"
            " supports both in one node. Remove one kind of card"
        )
    if settings.flavour == "server" and only_open:
        return Refuse(f'{only_open[0]} GPUs need the open kernel modules: set flavour = "auto" or "server-open"')
    if settings.flavour == "server-open" and closed:
        return Refuse(f'{closed[0]} GPUs need the closed kernel modules: set flavour = "auto" or "server"')
    if settings.flavour != "auto":
        return settings.flavour
    return "server" if closed else "server-open"


def _misfit(source: str, branch: str, generations: tuple[Generation, ...]) -> Refuse | None:
    only = nvidia.data().source[source].branch
    if only and branch != only:
        return Refuse(
            f'this distribution has driver branch {only}, not {branch}: set driver = "{only}", or source = "nvidia"'
        )
    for one in generations:
        if one.first and whole(branch) < one.first:
            return Refuse(
                f"{one.name} GPUs need driver branch {one.first} or later; {branch} is older"
                + ('. Set source = "nvidia"' if only else "")
            )
        if one.last and whole(branch) > one.last:
            return Refuse(f'{one.name} GPUs are supported up to driver branch {one.last}: set driver = "{one.last}"')
    return None


def installed_branch(facts: NvidiaFacts) -> str:
    """Return the branch of the installed driver packages; empty if none are installed."""
    return branch_of(facts.version_of(library_package(facts)))


def library_package(facts: NvidiaFacts) -> str:
    """Return the package with the driver's libraries; empty if none is installed.

    If several branches are installed, the one that works; else one with kernel modules; else the newest.
    """
    working = value_or(facts.loaded, "") if facts.is_healthy else ""
    modules = {branch_of(facts.version_of(name)) for name in facts.named(*MODULE_PACKAGES)}

    def rank(name: str) -> tuple[bool, bool, tuple[int, ...], bool]:
        version = upstream(facts.version_of(name))
        numbers = tuple(whole(part) for part in version.split("."))
        return version == working, branch_of(version) in modules, numbers, not is_transitional(facts, name)

    return max((name for name in facts.named(*LIBRARIES) if upstream(facts.version_of(name))), key=rank, default="")


def fabric_package(facts: NvidiaFacts) -> str:
    """Return the fabric manager's package; empty if none is installed. The one of the driver's branch comes first."""
    branch = branch_of(value_or(facts.loaded, "")) or installed_branch(facts)
    real = [name for name in facts.named(FABRIC_PACKAGES[0]) if not is_transitional(facts, name)]
    return next((name for name in real if branch_of(facts.version_of(name)) == branch), next(iter(real), ""))


def is_transitional(facts: NvidiaFacts, name: str) -> bool:
    """Whether a package is transitional: it has another branch's version, or is empty."""
    named, version = _NAMED_BRANCH.search(name), branch_of(facts.version_of(name))
    return name in facts.empty or (named is not None and bool(version) and named[1] != version)


def others(facts: NvidiaFacts, wanted: Install) -> tuple[str, ...]:
    """Return installed packages whose names contain another branch or module variant.

    They conflict with the desired ones. Packages without a branch in the name are moved to it in place.
    """
    result = []
    for name in facts.named(*DRIVER_PACKAGES):
        branch = _NAMED_BRANCH.search(name)
        if is_transitional(facts, name):
            continue
        is_module = name.startswith(MODULE_PACKAGES) if branch else name.removesuffix("-open") in UNNUMBERED
        is_other = is_module and ("-open" in name) != (wanted.flavour == "server-open")
        if (branch is not None and branch[1] != wanted.branch) or (is_other and not name.startswith(PINNING)):
            result.append(name)
    return tuple(result)


LIBRARIES = ("libnvidia-compute", "libnvidia-ml1", "nvidia-driver-cuda")
DRIVER_PACKAGES = ("nvidia-", "libnvidia-", "linux-modules-nvidia-", "linux-objects-nvidia-", "cuda-drivers-")
MODULE_PACKAGES = (
    "nvidia-dkms-",
    "nvidia-kernel-source-",
    "nvidia-headless-",
    "nvidia-driver-",
    "linux-modules-nvidia-",
    "linux-objects-nvidia-",
)
# NVIDIA's repository from branch 590 on, without the suffix of the open modules.
UNNUMBERED = ("nvidia-dkms", "nvidia-kernel-source", "nvidia-headless", "nvidia-headless-no-dkms")
PINNING = "nvidia-driver-pinning-"
# The desktop flavor of Ubuntu's driver; the server flavor has a suffix.
_DESKTOP = re.compile(r"libnvidia-compute-\d{3}")
# Packages that only NVIDIA's repository has, and the key of its table.
_NVIDIAS_OWN = {"libnvidia-compute": "nvidia-ubuntu", "nvidia-driver-cuda": "nvidia-debian"}
_NAMED_BRANCH = re.compile(r"-(\d{3})(?=-|$)")


DRIVER = "accelerators.driver"
LOAD = "accelerators.load"
TOOLKIT = "accelerators.toolkit"
# dockerd looks for it once, at startup (moby, daemon/devices_nvidia_linux.go).
HOOK = "/usr/bin/nvidia-container-runtime-hook"


class Work(Struct, frozen=True):
    """The common input of all parts of the plan."""

    settings: NvidiaSettings
    facts: NvidiaFacts
    cards: tuple[Card, ...]
    decision: Install | Keep

    @property
    def names(self) -> nvidia.PackageNames | None:
        """Return the driver's packages if one has to be installed."""
        if not isinstance(self.decision, Install):
            return None
        return nvidia.names(self.decision.source, self.decision.branch, self.decision.flavour)

    @property
    def source(self) -> str:
        """Return the key of the package table for this system; empty if it has none."""
        return source_of(self.facts, self.settings.source)

    @property
    def drivers_source(self) -> str:
        """Return the key of the driver's package table: a driver that is kept can come from another source."""
        return self.source if isinstance(self.decision, Install) else drivers_source(self.facts, self.source)


def source_of(facts: NvidiaFacts, source: Literal["distribution", "nvidia"]) -> str:
    """Return the key of the package table of a source for this system; empty if it has none."""
    if not isinstance(facts.system, Known):
        return ""
    return nvidia.source_key(facts.system.value.os, facts.system.value.codename, source)


def drivers_source(facts: NvidiaFacts, source: str) -> str:
    """Return the key of the table with the installed driver's packages; `source` if their names do not tell."""
    return _NVIDIAS_OWN.get(library_package(facts), source)


def desktop_flavor(facts: NvidiaFacts, source: str) -> str:
    """Return the library package of Ubuntu's desktop driver, if it is the installed one; otherwise empty."""
    name = library_package(facts)
    return name if source == "ubuntu" and _DESKTOP.fullmatch(name) else ""
