"""Docker's packages: their data, the steps that install and pin them, and the users of Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct, convert

from bai_wizard.core.errors import KnownAfterApply, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.page import Absent, Context, Known, Unknown, Unsupported
from bai_wizard.core.parse import comment, deb822_words, whole
from bai_wizard.core.state import file_key, member_key
from bai_wizard.core.step import Effect, Interrupt, Step
from bai_wizard.data import read_toml
from bai_wizard.pages.node_state import System
from bai_wizard.resources.files import WriteFile
from bai_wizard.resources.users import AddMember
from bai_wizard.steps.apt_sources import AptKey, AptSource
from bai_wizard.steps.docker import engine_major
from bai_wizard.steps.files import OptionalDropIn
from bai_wizard.steps.packages import NoPackages, PackageLists, Packages

if TYPE_CHECKING:
    from bai_wizard.pages.docker.probe import DockerFacts
    from bai_wizard.pages.docker.settings import DockerSettings


class PackageSet(Struct, frozen=True, kw_only=True):
    """The packages of one source for one release of the distribution. `note` describes what is missing there."""

    engine: tuple[str, ...]
    plugins: tuple[str, ...]
    conflicts: tuple[str, ...]
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The engine and its plugins."""
        return (*self.engine, *self.plugins)


class DockerCe(PackageSet, frozen=True, kw_only=True):
    """Docker's own packages and repository. `fingerprint` is that of its key; `url` contains `{os}`.

    `suites` are the releases of Ubuntu and Debian, and `architectures` dpkg's names, that it is known to serve.
    """

    url: str
    fingerprint: str
    architectures: tuple[str, ...]
    suites: dict[str, tuple[str, ...]]


class Incompatible(Struct, frozen=True):
    """A major version of the engine that breaks `local` registries in some Backend.AI releases.

    `fixed_in` are the first releases with the fix, one for each fixed release line, oldest first.
    """

    engine: int
    fixed_in: tuple[str, ...]
    what: str
    source: str

    def concerns(self, release: str) -> bool:
        """Whether Backend.AI `release` lacks the fix; a release without patch level is the newest of its line."""
        number = release_number(release)
        fixes = [release_number(fix) for fix in self.fixed_in]
        if not number or number[:2] >= fixes[-1][:2]:
            return False
        fix = next((fix for fix in fixes if fix[:2] == number[:2]), None)
        return fix is None or (len(number) > 2 and number < fix)


@cache
def docker_ce() -> DockerCe:
    """Return Docker's own packages."""
    return convert(read_toml("docker.toml")["docker-ce"], DockerCe)


def distro_packages(codename: str) -> PackageSet:
    """Return the distribution's packages with their names in this release."""
    table = read_toml("docker.toml")["distro"]
    return convert({**table.get(codename, table["default"]), "conflicts": table["conflicts"]}, PackageSet)


def every_package() -> tuple[str, ...]:
    """Return every package that is, contains or conflicts with an engine."""
    ce = docker_ce()
    return tuple(dict.fromkeys((*ce.names, *ce.conflicts, *distro_packages("").conflicts)))


def docker_key() -> str:
    """Return Docker's key as shipped with the wizard, which makes a download unnecessary."""
    from importlib.resources import files

    return files("bai_wizard.data").joinpath("keys/docker.asc").read_text(encoding="ascii")


def incompatible(release: str) -> Incompatible | None:
    """Return the lowest engine version incompatible with Backend.AI `release`; None if all are compatible."""
    known = convert(read_toml("docker.toml")["incompatible"], list[Incompatible])
    return min((each for each in known if each.concerns(release)), key=lambda entry: entry.engine, default=None)


def release_number(release: str) -> tuple[int, ...]:
    """Return (26, 4, 10) for `26.4.10`, (26, 4) for `26.4`; empty for any other text."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    return tuple(whole(part) for part in match.groups() if part is not None) if match else ()


# Above the target release's 990, below 1000: an installed version is never downgraded.
PRIORITY = 999


class AptPin(Step, frozen=True, kw_only=True):
    """Let apt choose only versions like `version` (`5:28.*`) of `packages`; the file states the reason.

    Without `version`, the major version that is installed is pinned, or else the one that apt would install now.
    """

    kind: ClassVar[str] = "apt-pin"
    path: str
    packages: tuple[str, ...]
    why: str
    version: str = ""

    def describe(self) -> str:
        return f"pin {self.packages[0]} to {self.version or 'its major version'}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(self.path),)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield WriteFile(self.path, self.text(self.version or self._major(view)).encode())

    def text(self, version: str) -> str:
        """Return the content of the preferences file."""
        packages = deb822_words(self.packages)
        return (
            f"# Written by bai-wizard: {comment(self.why)}.\n"
            "# Remove this file to let apt upgrade to any version again.\n"
            f"Package: {packages}\n"
            f"Pin: version {deb822_words([version])}\n"
            f"Pin-Priority: {PRIORITY}\n"
            "\n"
            f"Package: {packages}\n"
            "Pin: version *\n"
            "Pin-Priority: -1\n"
        )

    def _major(self, view: NodeView) -> str:
        name = self.packages[0]
        installed = view.package(name)
        version = installed.version if installed is not None else ""
        version = version or view.candidate(name) or ""
        if not version:
            raise StepBlocked(f"no package source of this node offers {name}, so its major version cannot be pinned")
        return major_pattern(version)


def major_pattern(version: str) -> str:
    """Return `5:28.*` for `5:28.5.1-1~debian.13~trixie`."""
    match = re.match(r"(\d+:)?\d+(?=[.+~-])", version)
    return f"{match[0]}.*" if match else version


GROUP = "docker"


class DockerUsers(Step, frozen=True, kw_only=True):
    """Add accounts to the docker group, which is equivalent to root. Takes effect at their next login."""

    kind: ClassVar[str] = "docker-users"
    accounts: tuple[str, ...]
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"allow {', '.join(self.accounts)} to use Docker (equivalent to root)"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(member_key(name, GROUP) for name in self.accounts)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        for name in self.accounts:
            if view.account(name) is None:
                raise StepBlocked(
                    f"account {name!r} does not exist on this node: complete the Account page"
                    " ([account] in the answers), or correct its name"
                )
        if not _has_group(view):
            raise StepBlocked(f"group {GROUP!r} does not exist on this node: is Docker installed from packages?")
        for name in self.accounts:
            yield AddMember(name, GROUP)


def _has_group(view: NodeView) -> bool:
    try:
        return view.group(GROUP) is not None
    except KnownAfterApply:
        # It is created by the packages of this plan; its members do not depend on its GID.
        return True


KEYRING = "/etc/apt/keyrings/docker.asc"
SOURCE = "/etc/apt/sources.list.d/docker.sources"
PIN = "/etc/apt/preferences.d/bai-docker"
ENGINES = ("docker-ce", "docker.io")
LEAVE_SNAP = (
    "Its images and volumes are in /var/snap/docker, so the wizard does not remove it: back up what you need, run"
    ' `snap remove docker` (which keeps a snapshot), then try again with source = "docker-ce" or "distro"'
)
# What the packages provide and later steps refer to.
BRINGS = ("unit:docker.service", "unit:docker.socket", "group:docker")


def package_steps(settings: DockerSettings, facts: DockerFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps for the chosen source. The system is known; otherwise this page would be blocked."""
    assert isinstance(facts.system, Known)
    system = facts.system.value
    if settings.source == "keep":
        return _keep(facts, settings)
    chosen = docker_ce() if settings.source == "docker-ce" else distro_packages(system.codename)
    return (
        *_repository(settings, facts, context, chosen, system),
        *_conflicts(settings, facts, chosen),
        *_pin(settings, facts, chosen),
        *_install(settings, facts, chosen),
    )


def _repository(
    settings: DockerSettings, facts: DockerFacts, context: Context, chosen: PackageSet, system: System
) -> tuple[Step, ...]:
    """The repository and its package lists. With a bundle, packages come from it and no repository is added."""
    if context.bundle:
        return ()
    source = _docker_source(settings, facts, system) if settings.source == "docker-ce" else ()
    return (*source, *_lists(settings, chosen, system))


def _keep(facts: DockerFacts, settings: DockerSettings) -> tuple[Step, ...]:
    if facts.is_fresh and isinstance(facts.engine, Absent):
        reason = 'this node has no engine to keep: set docker.source = "docker-ce" or "distro"'
        return (Unsupported(id="docker.keep", title="keep the installed engine", reason=reason),)
    installed = [name for name in ENGINES if facts.version_of(name)]
    if not (settings.hold and installed):
        return _remove_pin(settings)
    name = installed[0]
    return (_pin_step((name, *(["docker-ce-cli"] if name == "docker-ce" else [])), WHY_HOLD, ""),)


def _conflicts(settings: DockerSettings, facts: DockerFacts, chosen: PackageSet) -> tuple[Step, ...]:
    """Conflicting packages. Removed only if requested, and never if Kubernetes depends on them."""
    is_complete = all(facts.version_of(name) for name in chosen.names)
    # If all chosen packages are installed, dpkg has already ensured that none of them conflicts.
    result = () if is_complete else tuple(name for name in chosen.conflicts if facts.version_of(name))
    title = "no conflicting packages"
    if facts.snap:
        reason = f"Docker is installed as a snap, which would share the socket with the new engine. {LEAVE_SNAP}"
        return (Unsupported(id="docker.conflicts", title=title, reason=reason),)
    if not result:
        return ()
    if facts.kubernetes:
        reason = (
            f"{facts.kubernetes} runs on this node and {', '.join(result)} may be its container runtime, so they"
            ' are not removed. Set docker.source = "keep"'
        )
        return (Unsupported(id="docker.conflicts", title=title, reason=reason),)
    if not settings.remove_conflicts:
        running = facts.engine.value.running if isinstance(facts.engine, Known) else 0
        affected = f"; {running} running containers would stop" if running else ""
        reason = (
            f"{', '.join(result)} cannot coexist with {chosen.engine[0]}. docker.remove_conflicts = true"
            f' removes them (images and volumes are kept{affected}); docker.source = "keep" keeps them'
        )
        return (Unsupported(id="docker.conflicts", title=title, reason=reason),)
    return (
        NoPackages(
            id="docker.conflicts",
            names=result,
            why="remove packages that conflict with the chosen ones (images and volumes are kept)",
            for_good=True,
            replaced_by=chosen.engine,
            interrupts=("docker.restart",),
        ),
    )


def _docker_source(settings: DockerSettings, facts: DockerFacts, system: System) -> tuple[Step, ...]:
    uri = _address(settings, system)
    missing = ""
    text = docker_key()
    if settings.key_file:
        text = facts.key.value if isinstance(facts.key, Known) else ""
        missing = facts.key.reason if isinstance(facts.key, Unknown) else f"{settings.key_file} does not exist"
    key = AptKey(id="docker.key", path=KEYRING, text=text, fingerprint=docker_ce().fingerprint, missing=missing)
    if system.architecture and system.architecture not in docker_ce().architectures:
        served = " and ".join(docker_ce().architectures)
        reason = f'Docker\'s repository serves {served}, not {system.architecture}. Set docker.source = "distro"'
        return (Unsupported(id="docker.source", title=f"{uri} has packages for this system", reason=reason),)
    suites = docker_ce().suites.get(system.os, ())
    if not settings.apt_url and system.codename not in suites:
        known = ", ".join(suites)
        reason = (
            f"this wizard knows of no packages in Docker's repository for {system.name}"
            f" ({system.codename or 'no codename'}), only for {known}."
            ' Set docker.source = "distro", or a mirror in docker.apt_url'
        )
        return (Unsupported(id="docker.source", title=f"{uri} has packages for this system", reason=reason),)
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
    return (settings.apt_url or docker_ce().url.format(os=system.os)).rstrip("/")


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


def version_pattern(settings: DockerSettings, package: str) -> str:
    """Return the pattern of allowed versions; empty for any. Versions of docker-ce start with the epoch 5."""
    epoch = "5:" if package.startswith("docker-ce") else ""
    if settings.version:
        given = settings.version if ":" in settings.version else epoch + settings.version
        exact = given.endswith("*") or "-" in given
        return given if exact else f"{given}.*" if given.count(".") < 2 else f"{given}*"
    return ""


def _pin(settings: DockerSettings, facts: DockerFacts, chosen: PackageSet) -> tuple[Step, ...]:
    if not settings.hold:
        return _remove_pin(settings)
    versioned = _versioned(chosen)
    wanted = version_pattern(settings, versioned[0])
    installed = facts.version_of(versioned[0])
    if installed and not settings.version:
        # A pin neither replaces nor downgrades an installed engine; the doctor reports an engine that is too new.
        wanted = major_pattern(installed)
    elif wanted and not wanted.endswith(".*"):
        wanted = major_pattern(wanted)
    return (_pin_step(versioned, WHY_HOLD, wanted),)


def _remove_pin(settings: DockerSettings) -> tuple[Step, ...]:
    """Remove the pin of an earlier run, which would hold the engine despite the answers."""
    if settings.hold:
        return ()
    return (OptionalDropIn(id="docker.pin", path=PIN, text="", why="apt may upgrade the engine to any version"),)


def _pin_step(packages: tuple[str, ...], why: str, version: str) -> AptPin:
    return AptPin(id="docker.pin", path=PIN, packages=packages, why=why, version=version)


WHY_HOLD = "the engine's major version is changed on purpose only, after a look at what Backend.AI supports"


def incompatibility(settings: DockerSettings, facts: DockerFacts, context: Context) -> str:
    """Return known incompatibilities between the installed or requested engine and this release of Backend.AI."""
    limit = incompatible(context.backend_ai)
    if limit is None or not facts.local_images:
        return ""
    here = facts.engine.value.version if isinstance(facts.engine, Known) else ""
    here = here or next((result for name in ENGINES if (result := facts.version_of(name))), facts.offered)
    engine = engine_major(settings.version or here)
    if engine < limit.engine:
        return ""
    return (
        f"with Docker {engine} and Backend.AI {context.backend_ai} {limit.what} ({limit.source}), and this node has"
        f" such images ({facts.local_images[0]}). Upgrade to Backend.AI {' or '.join(limit.fixed_in)}"
    )


def _versioned(chosen: PackageSet) -> tuple[str, ...]:
    """The packages that have the engine's version: all but containerd."""
    return tuple(name for name in chosen.engine if not name.startswith("containerd"))


def _install(settings: DockerSettings, facts: DockerFacts, chosen: PackageSet) -> tuple[Step, ...]:
    """Install the engine, whose upgrade restarts the daemon; then the plugins, which need no restart."""
    versioned = _versioned(chosen)
    is_here = bool(facts.version_of(chosen.engine[0]))
    versions = tuple(
        "" if name not in versioned or (is_here and not settings.version) else version_pattern(settings, name)
        for name in chosen.engine
    )
    interrupts: tuple[Interrupt, ...] = ("docker.restart",) if not facts.is_fresh else ()
    engine = Packages(
        id="docker.packages",
        names=chosen.engine,
        versions=versions,
        why=f"install Docker Engine ({chosen.note})" if chosen.note else "install Docker Engine",
        brings=BRINGS,
        interrupts=interrupts,
    )
    if not chosen.plugins:
        return (engine,)
    return engine, Packages(id="docker.plugins", names=chosen.plugins, why="install docker buildx and docker compose")
