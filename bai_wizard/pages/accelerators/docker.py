"""What accelerators need of Docker: runtimes in its configuration, and one restart for all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.vendors.nvidia.work import HOOK
from bai_wizard.steps.docker_config import DAEMON_JSON, DockerConfig
from bai_wizard.steps.docker_service import DockerService
from bai_wizard.steps.nvidia_proof import ProofWanted

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import AcceleratorsSettings


def wanted(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> dict[str, Any]:
    """Our part of daemon.json, as `nvidia-ctk runtime configure` would write it."""
    runtimes: dict[str, Any] = {}
    features: dict[str, bool] = {}
    if _for_nvidia(settings, facts):
        runtimes["nvidia"] = {"path": "nvidia-container-runtime", "args": []}
        if settings.nvidia is not None and settings.nvidia.cdi:
            features["cdi"] = True
    for vendor in facts.vendors:
        known = catalogue.vendor(vendor.key)
        if known.runtime and vendor.has_runtime:
            runtimes[known.runtime] = {"path": known.runtime_path, "args": []}
        if vendor.has_cdi:
            features["cdi"] = True
    return {**({"runtimes": runtimes} if runtimes else {}), **({"features": features} if features else {})}


def configuration(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> tuple[Step, ...]:
    """daemon.json with the runtimes in it, everything else as it is."""
    keys = wanted(settings, facts)
    if not keys:
        return ()
    proof = ProofWanted(id="accelerators.proof-wanted", config=DAEMON_JSON, runtime="nvidia")
    noted = (proof,) if _for_nvidia(settings, facts) else ()
    return (*noted, DockerConfig(id="accelerators.docker-config", wanted=json.dumps(keys, sort_keys=True)))


def restart(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> tuple[Step, ...]:
    """Docker reads it; a Docker that is stopped, or not here, is left alone."""
    if not wanted(settings, facts):
        return ()
    reads = (DAEMON_JSON, HOOK) if _for_nvidia(settings, facts) else (DAEMON_JSON,)
    return (
        DockerService(
            id="accelerators.docker-restart",
            before=facts.daemon_json,
            reads=reads,
            enabled=None,
            active=None,
            if_running=True,
        ),
    )


def _for_nvidia(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> bool:
    return settings.nvidia is not None and settings.nvidia.container_toolkit and bool(facts.of("nvidia"))
