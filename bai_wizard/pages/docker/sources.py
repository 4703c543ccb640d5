"""Where the engine's packages come from, which version may come, and what has to go before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Absent, Known, Unknown
from bai_wizard.core.step import Interrupt, Step
from bai_wizard.pages.docker import catalogue
from bai_wizard.pages.docker.catalogue import PackageSet
from bai_wizard.pages.docker.facts import DockerFacts, System
from bai_wizard.steps.apt import NoPackages, PackageLists, Packages
from bai_wizard.steps.apt_pin import AptPin, major_pattern
from bai_wizard.steps.apt_source import AptKey, AptSource
from bai_wizard.steps.docker_config import engine_major
from bai_wizard.steps.refusal import Refusal
from bai_wizard.steps.removable import RemovableDropIn

if TYPE_CHECKING:
    from bai_wizard.pages.docker.settings import DockerSettings

KEYRING = "/etc/apt/keyrings/docker.asc"
SOURCE = "/etc/apt/sources.list.d/docker.sources"
PIN = "/etc/apt/preferences.d/bai-docker"
ENGINES = ("docker-ce", "docker.io")
LEAVE_SNAP = (
    "Its images and volumes lie in /var/snap/docker, so the wizard does not remove it: save what matters, run"
    ' «snap remove docker» (it keeps a snapshot), then repeat with source = "docker-ce" or "distro"'
)
# What the packages bring that later steps look at.
BRINGS = ("unit:docker.service", "unit:docker.socket", "group:docker")


def package_steps(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Step, ...]:
    """The steps for the chosen source. Facts tell the system, else this page would have refused."""
    assert isinstance(facts.system, Known)
    system = facts.system.value
    if settings.source == "keep":
        return _keep(facts, context, settings)
    chosen = catalogue.docker_ce() if settings.source == "docker-ce" else catalogue.distro(system.codename)
    return (
        *_conflicts(settings, facts, chosen),
        *_repository(settings, facts, context, chosen, system),
        *_pin(settings, facts, context, chosen),
        *_install(settings, facts, context, chosen),
    )


def _repository(
    settings: DockerSettings, facts: DockerFacts, context: Context, chosen: PackageSet, system: System
) -> tuple[Step, ...]:
    """The source and its lists. With a bundle the packages come from there, and no repository is named."""
    if context.bundle:
        return ()
    source = _docker_source(settings, facts, system) if settings.source == "docker-ce" else ()
    return (*source, *_lists(settings, chosen, system))


def _keep(facts: DockerFacts, context: Context, settings: DockerSettings) -> tuple[Step, ...]:
    if facts.is_fresh and isinstance(facts.engine, Absent):
        reason = 'there is no engine to keep on this node: take docker.source = "docker-ce" or "distro"'
        return (Refusal(id="docker.keep", title="the engine that is here stays", reason=reason),)
    installed = [name for name in ENGINES if facts.version_of(name)]
    if not (settings.hold and installed):
        return _let_go(settings)
    name = installed[0]
    return (_pin_step((name, *(["docker-ce-cli"] if name == "docker-ce" else [])), _why_hold(context), ""),)


def _conflicts(settings: DockerSettings, facts: DockerFacts, chosen: PackageSet) -> tuple[Step, ...]:
    """What is in the way. Never removed unasked; never at all where Kubernetes lives on it."""
    is_complete = all(facts.version_of(name) for name in chosen.names)
    # Where everything chosen is in, dpkg itself has seen to it that nothing is in conflict with it.
    found = () if is_complete else tuple(name for name in chosen.conflicts if facts.version_of(name))
    title = "nothing is in the way of the chosen packages"
    if facts.snap:
        reason = f"Docker is installed as a snap, which shares the socket with what is to come. {LEAVE_SNAP}"
        return (Refusal(id="docker.conflicts", title=title, reason=reason),)
    if not found:
        return ()
    if facts.kubernetes:
        reason = (
            f"{facts.kubernetes} runs on this node and {', '.join(found)} may be its container runtime, so they"
            ' are not removed. Take docker.source = "keep"'
        )
        return (Refusal(id="docker.conflicts", title=title, reason=reason),)
    if not settings.remove_conflicts:
        running = facts.engine.value.running if isinstance(facts.engine, Known) else 0
        hit = f"; {running} running containers would stop" if running else ""
        reason = (
            f"{', '.join(found)} cannot be installed beside {chosen.engine[0]}. docker.remove_conflicts = true"
            f' removes them (images and volumes stay{hit}); docker.source = "keep" keeps them'
        )
        return (Refusal(id="docker.conflicts", title=title, reason=reason),)
    return (
        NoPackages(
            id="docker.conflicts",
            names=found,
            why="removed, for they cannot be beside the chosen packages; images and volumes stay",
            for_good=True,
            interrupts=("docker.restart",),
        ),
    )


def _docker_source(settings: DockerSettings, facts: DockerFacts, system: System) -> tuple[Step, ...]:
    uri = _address(settings, system)
    missing = ""
    text = catalogue.key()
    if settings.key_file:
        text = facts.key.value if isinstance(facts.key, Known) else ""
        missing = facts.key.reason if isinstance(facts.key, Unknown) else f"{settings.key_file} is not there"
    key = AptKey(id="docker.key", path=KEYRING, text=text, fingerprint=catalogue.fingerprint(), missing=missing)
    if system.architecture and system.architecture not in catalogue.architectures():
        served = " and ".join(catalogue.architectures())
        reason = f'Docker\'s repository serves {served}, this node is {system.architecture}. Take source = "distro"'
        return (Refusal(id="docker.source", title=f"{uri} has packages for this system", reason=reason),)
    if not settings.apt_url and system.codename not in catalogue.suites(system.os):
        known = ", ".join(catalogue.suites(system.os))
        reason = (
            f"Docker's repository has no packages for {system.name} ({system.codename or 'no codename'}) that this"
            f' wizard knows of; it has them for {known}. Take source = "distro", or name a mirror in docker.apt_url'
        )
        return (Refusal(id="docker.source", title=f"{uri} has packages for this system", reason=reason),)
    source = AptSource(
        id="docker.source",
        path=SOURCE,
        uri=uri,
        suite=system.codename,
        components=("stable",),
        architectures=(system.architecture,) if system.architecture else (),
        signed_by=KEYRING,
        why="Docker's packages, verified with Docker's own key",
    )
    return key, source


def _address(settings: DockerSettings, system: System) -> str:
    return (settings.apt_url or catalogue.repository(system.os)).rstrip("/")


def _lists(settings: DockerSettings, chosen: PackageSet, system: System) -> tuple[Step, ...]:
    ours = settings.source == "docker-ce"
    return (
        PackageLists(
            id="docker.lists",
            packages=chosen.names,
            sources=(SOURCE, KEYRING) if ours else (),
            addresses=(_address(settings, system),) if ours else (),
        ),
    )


def wanted_version(settings: DockerSettings, context: Context, package: str) -> str:
    """The pattern of versions that may be installed; empty for any. docker-ce's versions begin with the epoch 5."""
    epoch = "5:" if package.startswith("docker-ce") else ""
    if settings.version:
        given = settings.version if ":" in settings.version else epoch + settings.version
        exact = given.endswith("*") or "-" in given
        return given if exact else f"{given}.*" if given.count(".") < 2 else f"{given}*"
    limit = catalogue.incompatible(context.backend_ai)
    # Only the last major version before the incompatible one can be named without asking the repository.
    return f"{epoch}{limit.engine - 1}.*" if limit is not None and package.startswith("docker-ce") else ""


def _pin(settings: DockerSettings, facts: DockerFacts, context: Context, chosen: PackageSet) -> tuple[Step, ...]:
    if not settings.hold:
        return _let_go(settings)
    versioned = _versioned(chosen)
    wanted = wanted_version(settings, context, versioned[0])
    installed = facts.version_of(versioned[0])
    if installed and not settings.version:
        # What runs here is neither replaced nor taken back by a pin; an engine too new is the doctor's to tell.
        wanted = major_pattern(installed)
    elif wanted and not wanted.endswith(".*"):
        wanted = major_pattern(wanted)
    return (_pin_step(versioned, _why_hold(context), wanted),)


def _let_go(settings: DockerSettings) -> tuple[Step, ...]:
    """A pin of an earlier run would hold the engine against the answers."""
    if settings.hold:
        return ()
    return (RemovableDropIn(id="docker.pin", path=PIN, text="", why="apt may upgrade the engine to any version"),)


def _pin_step(packages: tuple[str, ...], why: str, version: str) -> AptPin:
    return AptPin(id="docker.pin", path=PIN, packages=packages, why=why, version=version)


def _why_hold(context: Context) -> str:
    limit = catalogue.incompatible(context.backend_ai)
    if limit is None:
        return "the engine's major version is changed on purpose only, after a look at what Backend.AI supports"
    return f"with Docker {limit.engine} and Backend.AI before {limit.fixed_in} {limit.what} ({limit.source})"


def known_fault(settings: DockerSettings, facts: DockerFacts, context: Context) -> str:
    """What is known against the engine that is here, or is asked for by version, with this release of Backend.AI."""
    limit = catalogue.incompatible(context.backend_ai)
    if limit is None:
        return ""
    here = facts.engine.value.version if isinstance(facts.engine, Known) else ""
    here = here or next((found for name in ENGINES if (found := facts.version_of(name))), facts.offered)
    engine = engine_major(settings.version or here)
    if engine < limit.engine:
        return ""
    elsewhere = ' with source = "docker-ce"' if settings.source == "distro" else ""
    return (
        f"with Docker {engine} and Backend.AI {context.backend_ai} {limit.what} ({limit.source}); docker.version ="
        f' "{limit.engine - 1}"{elsewhere} on a node without containers, or Backend.AI {limit.fixed_in}, goes without'
        " that"
    )


def _versioned(chosen: PackageSet) -> tuple[str, ...]:
    """The packages that carry the engine's version: all but containerd."""
    return tuple(name for name in chosen.engine if not name.startswith("containerd"))


def _install(settings: DockerSettings, facts: DockerFacts, context: Context, chosen: PackageSet) -> tuple[Step, ...]:
    """The engine, whose upgrade would restart the daemon; then the plugins, which restart nothing."""
    versioned = _versioned(chosen)
    is_here = bool(facts.version_of(chosen.engine[0]))
    versions = tuple(
        "" if name not in versioned or (is_here and not settings.version) else wanted_version(settings, context, name)
        for name in chosen.engine
    )
    interrupts: tuple[Interrupt, ...] = ("docker.restart",) if not facts.is_fresh else ()
    engine = Packages(
        id="docker.packages",
        names=chosen.engine,
        versions=versions,
        why=f"the engine; {chosen.note}" if chosen.note else "the engine",
        brings=BRINGS,
        interrupts=interrupts,
    )
    if not chosen.plugins:
        return (engine,)
    return engine, Packages(id="docker.plugins", names=chosen.plugins, why="docker buildx and docker compose")
