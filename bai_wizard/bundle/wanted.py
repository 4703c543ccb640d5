"""Which packages a set of answers needs on a bare node, from which repositories. No machine is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bai_wizard.compose import Wish
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.facts import Absent, Fact, Known
from bai_wizard.pages.docker.facts import DockerFacts, System
from bai_wizard.pages.docker.settings import DockerSettings
from bai_wizard.pages.storage.settings import StorageSettings
from bai_wizard.steps.apt import Packages
from bai_wizard.steps.apt_source import AptKey, AptSource
from bai_wizard.steps.refusal import Refusal


@dataclass(frozen=True)
class WantedPackages:
    """Packages of one page, each with a version pattern or an empty one; the repositories beyond the system's."""

    page: str
    names: tuple[str, ...]
    versions: tuple[str, ...]
    sources: tuple[AptSource, ...] = ()
    keys: tuple[AptKey, ...] = ()


def wanted_packages(wish: Wish, system: System) -> tuple[WantedPackages, ...]:
    """By page, for docker and storage. With a bundle in the context: what it is to have. Raises StepFailed."""
    found = []
    docker, storage = wish.settings.get("docker"), wish.settings.get("storage")
    if "docker" in wish.pages and isinstance(docker, DockerSettings) and docker.source != "keep":
        found.append(_docker(docker, wish, system))
    if "storage" in wish.pages and isinstance(storage, StorageSettings):
        names = _clients(storage)
        found.append(WantedPackages("storage", names, ("",) * len(names)))
    return tuple(each for each in found if each.names)


def _docker(settings: DockerSettings, wish: Wish, system: System) -> WantedPackages:
    """From the page's own steps for a node without an engine: the same names, versions, address and key."""
    from bai_wizard.pages.docker.sources import package_steps

    key = Absent() if wish.context.bundle else _key(settings.key_file)
    facts = DockerFacts(system=Known(system), engine=Absent(), key=key)
    steps = package_steps(settings, facts, wish.context)
    for step in steps:
        if isinstance(step, Refusal):
            raise StepFailed(f"[docker] cannot be bundled for {system.name}: {step.reason}")
    packages = [step for step in steps if isinstance(step, Packages)]
    return WantedPackages(
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


def _clients(settings: StorageSettings) -> tuple[str, ...]:
    from bai_wizard.pages.storage.kinds.mounted import packages_of

    mounted = [volume for volume in settings.volumes if volume.type not in ("local", "existing")]
    return tuple(dict.fromkeys(name for volume in mounted for name in packages_of(volume)))
