"""Where NVIDIA's packages come from: key and source file of its repositories, as far as they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.data import Repository
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.steps.apt_source import AptKey, AptSource
from bai_wizard.steps.refusal import Refusal

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import NvidiaSettings

KEYRINGS = "/etc/apt/keyrings"
SOURCES = "/etc/apt/sources.list.d"
TOOLKIT = "nvidia-container-toolkit"
CUDA = "nvidia-cuda"


def toolkit_source(settings: NvidiaSettings, facts: NvidiaFacts) -> tuple[Step, ...]:
    """The container toolkit's repository; with a mirror of one's own, that one."""
    repository = data.toolkit_repository(settings.apt_url)
    text = _given(facts) or repository.key
    return _steps(TOOLKIT, repository, text, "", facts, "NVIDIA's container toolkit")


def cuda_source(settings: NvidiaSettings, facts: NvidiaFacts) -> tuple[Step, ...]:
    """The repository of drivers and CUDA."""
    assert isinstance(facts.system, Known)
    system = facts.system.value
    repository = data.cuda_repository(system.os, system.version, system.architecture, settings.apt_url)
    if repository is None:
        reason = (
            f"no repository of NVIDIA's is known for {system.os} {system.version} ({system.architecture}): take"
            ' accelerators.nvidia.source = "distribution"'
        )
        return (Refusal(id="accelerators.cuda-source", title="NVIDIA has packages for this system", reason=reason),)
    missing = facts.key.reason if isinstance(facts.key, Unknown) else f"fetch {repository.key_url}"
    return _steps(CUDA, repository, _given(facts), missing, facts, "NVIDIA's driver and CUDA")


def files_of(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The files that these steps write: newer ones mean that the package lists are out of date."""
    return tuple(step.path for step in steps if isinstance(step, AptKey | AptSource))


def addresses_of(steps: tuple[Step, ...], facts: NvidiaFacts) -> tuple[str, ...]:
    """The repositories as apt names them in its messages."""
    return tuple(step.uri.replace("$(ARCH)", _architecture(facts)) for step in steps if isinstance(step, AptSource))


def _given(facts: NvidiaFacts) -> str:
    """A key that was named in the answers, or fetched; its fingerprint is compared by the step."""
    return facts.key.value if isinstance(facts.key, Known) else ""


def _steps(
    name: str, repository: Repository, key: str, missing: str, facts: NvidiaFacts, why: str
) -> tuple[Step, ...]:
    keyring = f"{KEYRINGS}/{name}.asc"
    architecture = _architecture(facts)
    return (
        AptKey(
            id=f"accelerators.{name}-key",
            path=keyring,
            text=key,
            fingerprint=repository.fingerprint,
            missing=missing,
        ),
        AptSource(
            id=f"accelerators.{name}-source",
            path=f"{SOURCES}/{name}.sources",
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
