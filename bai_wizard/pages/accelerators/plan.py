"""The Accelerators page: its steps, its part of Docker's configuration, the summary, and the page itself."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.core.page import Context, Known, Page, Unknown, Unsupported
from bai_wizard.core.parse import module_name
from bai_wizard.core.step import Step
from bai_wizard.pages import TITLES, checks_of
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, VendorFacts, vendor_of
from bai_wizard.pages.accelerators.nvidia.driver import HOOK
from bai_wizard.pages.accelerators.nvidia.plan import Parts, parts
from bai_wizard.pages.accelerators.nvidia.steps import ProofWanted
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.rows import ROWS, card_table, now
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.accelerators.steps import HugePages, LeftAlone
from bai_wizard.steps.accounts import Groups
from bai_wizard.steps.docker import DAEMON_JSON, DockerConfig, DockerService
from bai_wizard.steps.kernel import KernelModules


def daemon_keys(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> dict[str, Any]:
    """Return our part of daemon.json, as `nvidia-ctk runtime configure` would write it."""
    runtimes: dict[str, Any] = {}
    features: dict[str, bool] = {}
    if _for_nvidia(settings, facts):
        runtimes["nvidia"] = {"path": "nvidia-container-runtime", "args": []}
        if settings.nvidia is not None and settings.nvidia.cdi:
            features["cdi"] = True
    for vendor in facts.vendors:
        known = vendor_of(vendor.key)
        if known.runtime and vendor.has_runtime:
            runtimes[known.runtime] = {"path": known.runtime_path, "args": []}
        if vendor.has_cdi:
            features["cdi"] = True
    return {**({"runtimes": runtimes} if runtimes else {}), **({"features": features} if features else {})}


def docker_steps(
    settings: AcceleratorsSettings, facts: AcceleratorsFacts
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the steps that add the runtimes to daemon.json and keep everything else, then those for the end.

    At the end a restart makes Docker read the file; a Docker that is stopped or not installed is left alone.
    """
    keys = daemon_keys(settings, facts)
    if not keys:
        return (), ()
    configure = DockerConfig(id="accelerators.docker-config", wanted=json.dumps(keys, sort_keys=True))
    for_nvidia = _for_nvidia(settings, facts)
    restart = DockerService(
        id="accelerators.docker-restart",
        before=facts.daemon_json,
        reads=(DAEMON_JSON, HOOK) if for_nvidia else (DAEMON_JSON,),
        enabled=None,
        active=None,
        if_running=True,
    )
    if not for_nvidia:
        return (configure,), (restart,)
    return (
        ProofWanted(id="accelerators.proof-wanted", config=DAEMON_JSON, runtime="nvidia"),
        configure,
    ), (restart,)


def _for_nvidia(settings: AcceleratorsSettings, facts: AcceleratorsFacts) -> bool:
    return settings.nvidia is not None and settings.nvidia.container_toolkit and bool(facts.of("nvidia"))


def steps(settings: AcceleratorsSettings, facts: AcceleratorsFacts, context: Context) -> tuple[Step, ...]:
    """Packages, Docker's configuration, drivers, then what needs them; the order allows a reboot in between."""
    if isinstance(facts.cards, Unknown):
        title = "detect the accelerators of this node"
        reason = f"the accelerators cannot be detected: {facts.cards.reason}"
        return (Unsupported(id="accelerators.cards", title=title, reason=reason, optional=True),)
    left = _left_alone(facts)
    if facts.tegra and settings.nvidia is not None:
        reason = (
            f"the GPU of this node is part of its processor ({facts.tegra}): driver, CUDA and container runtime come"
            " with NVIDIA's JetPack, which this page does not replace. Remove [accelerators.nvidia] from the answers"
        )
        return (*left, Unsupported(id="accelerators.driver", title="install the NVIDIA driver", reason=reason))
    cards, nvidia = facts.of("nvidia"), Parts(())
    if settings.nvidia is not None and facts.nvidia is not None and cards:
        nvidia = parts(settings.nvidia, facts.nvidia, cards, context)
    if any(isinstance(step, Unsupported) and not step.optional for step in nvidia.packages):
        return (*left, *nvidia.packages)
    configure, restart = docker_steps(settings, facts)
    return (
        *left,
        *nvidia.packages,
        *configure,
        *(step for vendor in facts.vendors for step in _vendor(vendor, facts, context)),
        *nvidia.load,
        *restart,
        *nvidia.services,
    )


def _left_alone(facts: AcceleratorsFacts) -> tuple[Step, ...]:
    cards = tuple(f"{card.address} ({card.driver})" for card in facts.passed_through)
    return (LeftAlone(id="accelerators.left-alone", cards=cards),) if cards else ()


def unset(settings: AcceleratorsSettings, facts: AcceleratorsFacts, context: Context) -> str:
    """Describe NVIDIA GPUs that do not work in containers although NVIDIA is not configured in the answers."""
    cards, nvidia = facts.of("nvidia"), facts.nvidia
    if not cards or facts.tegra or settings.nvidia is not None:
        return ""
    if nvidia is None or not nvidia.is_healthy:
        lacks = "no working driver"
    elif isinstance(nvidia.runtimes, Unknown):
        lacks = f"the container runtime cannot be determined ({nvidia.runtimes.reason})"
    elif not isinstance(nvidia.runtimes, Known) or "nvidia" not in nvidia.runtimes.value:
        lacks = "no container toolkit registered with Docker"
    else:
        return ""
    gpus = "1 NVIDIA GPU" if len(cards) == 1 else f"{len(cards)} NVIDIA GPUs"
    return f"{gpus} found, {lacks}, and NVIDIA is not configured"


def _vendor(vendor: VendorFacts, facts: AcceleratorsFacts, context: Context) -> tuple[Step, ...]:
    """Steps for one vendor; a missing driver appears in the plan with the vendor's instructions."""
    known = vendor_of(vendor.key)
    missing = [lack.what for lack in vendor.missing if lack.is_driver]
    if missing:
        reason = f"{'; '.join(missing)}. The driver comes from the vendor: {known.page}"
        title = f"check the {known.name} driver"
        return (Unsupported(id=f"accelerators.{vendor.key}-driver", title=title, reason=reason, optional=True),)
    return () if facts.container else configured(vendor, context)


def configured(vendor: VendorFacts, context: Context) -> tuple[Step, ...]:
    """Return the steps for what the data file describes: groups, modules to load at boot, huge pages."""
    known = vendor_of(vendor.key)
    result: list[Step] = []
    if vendor.groups:
        result.append(Groups(id=f"accelerators.{vendor.key}-groups", account=context.account, groups=vendor.groups))
    if known.load and vendor.has_module:
        modules = "".join(f"{module_name(name)}\n" for name in known.load)
        result.append(
            KernelModules(
                id=f"accelerators.{vendor.key}-modules",
                path=f"/etc/modules-load.d/bai-wizard-{vendor.key}.conf",
                text=f"# Written by bai-wizard: {known.load_comment}.\n{modules}",
                why=known.load_why,
                modules=known.load,
            )
        )
    pages = known.pages_for(device for device, count in vendor.models for _ in range(count))
    if pages and not vendor.has_own_setup:
        why = f"through which {known.name} cards exchange data"
        result.append(HugePages(id="accelerators.huge-pages", count=pages, why=why))
    return tuple(result)


Row = tuple[str, str]
LOCKING = "need unlimited locked memory: set LimitMEMLOCK=infinity for the agent's service (tuning.services)"


PAGE = Page(
    name="accelerators",
    title=TITLES["accelerators"],
    summary="GPUs and NPUs: drivers, libraries and container support.",
    settings=AcceleratorsSettings,
    probe=probe,
    steps=steps,
    checks=checks_of("accelerators"),
    now=now,
    rows=ROWS,
    unset=unset,
    reference_table=card_table,
)
