"""What answers need from a bundle: packages, drivers, Python builds, wheels and images."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import StepBlocked, StepFailed, WizardError
from bai_wizard.core.page import Absent, Fact, Known, Unsupported
from bai_wizard.core.step import Step
from bai_wizard.offline.manifest import Manifest, MissingItem
from bai_wizard.pages.accelerators.facts import ABSENT, Kernels, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia.driver_steps import NvidiaDriver, upstream
from bai_wizard.pages.accelerators.nvidia.fabric import FABRIC
from bai_wizard.pages.accelerators.nvidia.holds import FLAVOURS
from bai_wizard.pages.accelerators.nvidia.nvlink_steps import SubnetManager
from bai_wizard.pages.accelerators.nvidia.plan import parts
from bai_wizard.pages.accelerators.nvidia.steps import CudaRuntime, NvidiaFabric
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.account.settings import AccountSettings
from bai_wizard.pages.docker.probe import DockerFacts
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.images.probe import wanted as wanted_images
from bai_wizard.pages.images.settings import ImagesSettings
from bai_wizard.pages.node_state import ARCHITECTURES, System
from bai_wizard.pages.python.plan import BASICS, services
from bai_wizard.pages.python.probe import PythonFacts
from bai_wizard.pages.python.settings import PythonSettings
from bai_wizard.pages.python.versions import select_python
from bai_wizard.pages.storage.fstab import packages_of
from bai_wizard.pages.storage.settings import MountedVolume, StorageSettings
from bai_wizard.steps.apt_sources import AptKey, AptSource
from bai_wizard.steps.packages import Packages

if TYPE_CHECKING:
    from bai_wizard.compose import DesiredState
    from bai_wizard.pages.images.settings import ImagesSettings


class RequiredPackages(Struct, frozen=True):
    """Packages of one page, each with a version pattern or an empty one; the repositories beyond the system's."""

    page: str
    names: tuple[str, ...]
    versions: tuple[str, ...]
    sources: tuple[AptSource, ...] = ()
    keys: tuple[AptKey, ...] = ()


def required_packages(
    desired: DesiredState, system: System, *, lacks_sudo: bool = False
) -> tuple[RequiredPackages, ...]:
    """By page, for account, docker and storage. With a bundle in the context: what it must contain.

    `lacks_sudo`: the node has no sudo, or this is unknown. Raises StepFailed.
    """
    result = []
    account = desired.settings.get("account")
    if lacks_sudo and "account" in desired.pages and isinstance(account, AccountSettings) and account.sudo != "no":
        result.append(RequiredPackages("account", ("sudo",), ("",)))
    docker, storage = desired.settings.get("docker"), desired.settings.get("storage")
    if "docker" in desired.pages and isinstance(docker, DockerSettings) and docker.source != "keep":
        result.append(_docker_packages(docker, desired, system))
    if "storage" in desired.pages and isinstance(storage, StorageSettings):
        mounted = [volume for volume in storage.volumes if isinstance(volume, MountedVolume)]
        names = tuple(dict.fromkeys(name for volume in mounted for name in packages_of(volume)))
        result.append(RequiredPackages("storage", names, ("",) * len(names)))
    return tuple(each for each in result if each.names)


def _docker_packages(settings: DockerSettings, desired: DesiredState, system: System) -> RequiredPackages:
    """From the page's own steps for a node without an engine: the same names, versions, address and key."""
    from bai_wizard.pages.docker.packages import package_steps

    key = Absent() if desired.context.bundle else _key(settings.key_file)
    facts = DockerFacts(system=Known(system), engine=Absent(), key=key)
    steps = package_steps(settings, facts, desired.context)
    for step in steps:
        if isinstance(step, Unsupported):
            raise StepFailed(f"[docker] cannot be bundled for {system.name}: {step.reason}")
    packages = [step for step in steps if isinstance(step, Packages)]
    return RequiredPackages(
        "docker",
        tuple(name for each in packages for name in each.names),
        tuple(version for each in packages for version in each.versions or ("",) * len(each.names)),
        tuple(step for step in steps if isinstance(step, AptSource)),
        tuple(step for step in steps if isinstance(step, AptKey)),
    )


def _key(file: str) -> Fact[str]:
    if not file:
        return Absent()
    try:
        return Known(Path(file).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise StepFailed(f"[docker] key_file {file} cannot be read: {error}") from error


# The version that apt would install; None if no source offers the package.
Candidate = Callable[[str], str | None]
NO_KERNELS = (
    "NVIDIA's kernel modules: the kernels of the nodes are unknown. Pass the nodes' files with --like, including"
    " var/lib/dpkg/status among them"
)


class WantedDriver(Struct, frozen=True):
    """One variant of the driver and its companion packages.

    `spare`: only nodes with NVSwitch need a fabric manager.
    """

    steps: tuple[Step, ...]
    spare: bool
    page: str = "accelerators"

    @property
    def sources(self) -> tuple[AptSource, ...]:
        """The repositories beyond the system's."""
        return tuple(step for step in self.steps if isinstance(step, AptSource))

    @property
    def keys(self) -> tuple[AptKey, ...]:
        """The keys of these repositories."""
        return tuple(step for step in self.steps if isinstance(step, AptKey))

    def named(self, candidate: Candidate) -> tuple[tuple[RequiredPackages, ...], tuple[str, ...]]:
        """The packages, once the sources can be queried; and messages on what they do not offer."""
        result, lacks = [], []
        pinned = next((step.version for step in self.steps if isinstance(step, NvidiaDriver)), "")
        for step in self.steps:
            try:
                names, versions = _names_and_versions(step, candidate, pinned)
            except StepBlocked as error:
                lacks.append(str(error))
                continue
            if names:
                result.append(RequiredPackages(self.page, names, versions))
            if isinstance(step, NvidiaDriver) and not step.kernels:
                lacks.append(NO_KERNELS)
        return tuple(result), tuple(lacks)

    def certain(self) -> tuple[str, ...]:
        """What every node with a GPU needs, regardless of its kernel and switches."""
        result: list[str] = []
        for step in self.steps:
            if isinstance(step, NvidiaDriver):
                result += step.user
            elif isinstance(step, SubnetManager):
                continue  # only nodes with NVLink 5 need it
            elif isinstance(step, CudaRuntime | Packages) or (isinstance(step, NvidiaFabric) and not self.spare):
                result += step.names
        return tuple(result)


def wanted_drivers(
    desired: DesiredState, system: System, kernels: tuple[str, ...] = (), key: Fact[str] = ABSENT
) -> tuple[WantedDriver, ...]:
    """Both variants if the GPU generation decides on the node; empty if no driver is requested."""
    settings = desired.settings.get("accelerators")
    if (
        "accelerators" not in desired.pages
        or not isinstance(settings, AcceleratorsSettings)
        or settings.nvidia is None
    ):
        return ()
    nvidia = settings.nvidia
    spare = nvidia.fabric_manager == "auto"
    flavours = FLAVOURS if nvidia.flavour == "auto" and nvidia.driver != "keep" else (nvidia.flavour,)
    newest = kernels[-1] if kernels else ""
    facts = NvidiaFacts(
        system=Known(system), kernels=Kernels(newest, newest), key=key, nvlink5=nvidia.driver != "keep"
    )
    result = []
    for flavour in flavours:
        update = {"flavour": flavour, "fabric_manager": "yes" if spare else nvidia.fabric_manager}
        steps: list[Step] = []
        for step in parts(replace(nvidia, **update), facts, (), desired.context).packages:
            # A fabric manager that the system does not have is needed only if the answers request it explicitly.
            if not (spare and isinstance(step, Unsupported) and step.id == FABRIC):
                steps.append(replace(step, kernels=kernels) if isinstance(step, NvidiaDriver) else step)
        result.append(WantedDriver(tuple(steps), spare))
    return tuple(result)


def _names_and_versions(step: Step, candidate: Candidate, pinned: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and version patterns of one step. Raises StepBlocked if they are not available.

    `pinned` is the pattern of the driver's version; empty if its name contains the branch.
    """
    version = ""
    versions: tuple[str, ...] = ()
    if isinstance(step, Unsupported):
        raise StepBlocked(step.reason)
    if isinstance(step, NvidiaDriver):
        by_kernel = step.chosen(lambda name: candidate(name) is not None) if step.kernels else ()
        names = by_kernel or (*step.user, *step.dkms)
        versions = step.versions(names)
    elif isinstance(step, NvidiaFabric):
        driver = upstream(candidate(step.package) or "")
        more = (name for name in step.where_offered if upstream(candidate(name) or "") == driver)
        names, version = (*step.names, *more), pinned or f"{driver}-*"
    elif isinstance(step, SubnetManager):
        names = tuple(name for name in step.names if candidate(name) is not None)
    elif isinstance(step, CudaRuntime | Packages):
        names = step.names
    else:
        return (), ()
    gone = [name for name in names if candidate(name) is None]
    if gone:
        raise StepBlocked(f"{step.describe()}: no package source offers {', '.join(gone)}")
    return names, versions or (version,) * len(names)


def archive_name(file: str, sha256: str, bundle: str = "") -> str:
    """The name of an archive in the bundle: two of the same name have different hashes; unchanged if it is in it."""
    directory, name = os.path.split(file)
    return name if bundle and directory == f"{bundle}/images" else f"{sha256[:12]}-{name}"


def saved_name(reference: str) -> str:
    """The name in the bundle of an image that would be pulled."""
    name = reference.rpartition("/")[2].replace(":", "-").replace("@", "-")
    return f"{hashlib.sha256(reference.encode()).hexdigest()[:12]}-{name}.tar"


# The name at the beginning of a requirement, before versions, extras and markers.
REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")
PYENV = 'pyenv downloads the sources that it builds; choose method = "standalone"'


def not_served(desired: DesiredState) -> tuple[MissingItem, ...]:
    """By page, what no bundle contains."""
    python = desired.settings.get("python")
    if "python" in desired.pages and isinstance(python, PythonSettings) and python.method != "standalone":
        return (("python", PYENV),)
    return ()


def missing_items(
    desired: DesiredState, manifest: Manifest, system: System | None, *, lacks_sudo: bool = False
) -> tuple[MissingItem, ...]:
    """By page, what these answers need and the manifest does not list. `system` is the node's, None if unknown.

    Only a node's plan knows which kernel modules it needs: it rejects those that the bundle does not offer.
    """
    names = {held.path for held in manifest.files}
    return (
        *not_served(desired),
        *(("python", what) for what in _python(desired, names)),
        *(("images", what) for what in _images(desired, names)),
        *(_packages(desired, names, manifest, system, lacks_sudo) if system else ()),
    )


def _python(desired: DesiredState, names: set[str]) -> Iterator[str]:
    settings = desired.settings.get("python")
    if "python" not in desired.pages or not isinstance(settings, PythonSettings) or settings.method != "standalone":
        return
    build = select_python(settings, PythonFacts(arch=platform.machine()), desired.context).build
    if build is not None and f"python/{build.place}" not in names:
        yield f"the build {build.file}"
    wheels = {_plain(path.removeprefix("wheels/").partition("-")[0]) for path in names if path.startswith("wheels/")}
    for wanted in (*BASICS, *(name for _, packages in services(settings, desired.context) for name in packages)):
        match = REQUIREMENT_NAME.match(wanted)
        if match and _plain(match[0]) not in wheels:
            yield f"a wheel of {match[0]}"


def _plain(name: str) -> str:
    """A distribution's name as wheels spell it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _images(desired: DesiredState, names: set[str]) -> Iterator[str]:
    settings = desired.settings.get("images")
    if "images" not in desired.pages or not isinstance(settings, ImagesSettings):
        return
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    for archive in settings.archives:
        if f"images/{archive_name(archive.file, archive.sha256, desired.context.bundle)}" not in names:
            yield f"the archive {archive.file}"
    for image in wanted_images(settings, desired.context, architecture):
        if f"images/{saved_name(image.reference)}" not in names:
            yield f"the image {image.reference}"


def _packages(
    desired: DesiredState, names: set[str], manifest: Manifest, system: System, lacks_sudo: bool
) -> Iterator[MissingItem]:
    held = {path.removeprefix("packages/").partition("_")[0] for path in names if path.startswith("packages/")}
    try:
        wanted = required_packages(desired, system, lacks_sudo=lacks_sudo)
    except WizardError as error:
        yield "docker", str(error)
        return
    needed = [(each.page, each.names) for each in wanted]
    flavours = [each.certain() for each in wanted_drivers(desired, system)]
    if flavours:
        # Either variant may be the right one for the GPUs of this node.
        needed.append(("accelerators", min(flavours, key=lambda names: sum(name not in held for name in names))))
    for page, names_of_page in needed:
        gone = [name for name in names_of_page if name not in held]
        if gone:
            yield page, f"the packages {', '.join(gone)}"
        elif manifest.system and manifest.system != system.codename:
            yield page, f"packages for {system.codename}: the bundle was made for {manifest.system}"
