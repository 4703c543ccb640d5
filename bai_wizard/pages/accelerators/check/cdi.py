"""What the doctor looks at in the description of the GPUs for the Container Device Interface."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.check.look import PAGE, loaded, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.nvidia_cdi import GENERATED, REFRESH, WRITTEN, NvidiaCdi

NOT_THERE = Subject("nvidia-cdi-unresolvable", PAGE, "The GPUs are described where CDI is used")
STALE = Subject("nvidia-cdi-stale", PAGE, "The description of the GPUs is up to date")
_HOST_PATH = re.compile(r"hostPath:\s*(\S+)|^\s*- path:\s*(/dev/\S+)", re.MULTILINE)
_LIBRARY = re.compile(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)")
_SLICE = re.compile(r"MIG-[0-9a-fA-F-]+")
MOST_PATHS = 60


def not_there(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Only where somebody asked for it: in daemon.json, or by the toolkit's own service."""
    asked = re.search(r'"cdi"\s*:\s*true', facts.daemon_json) is not None
    if not asked:
        return NOT_THERE.not_applicable("containers get their GPUs by the runtime, not by CDI")
    there = [path for path in (WRITTEN, GENERATED) if machine.entry(path) is not None]
    if there:
        return NOT_THERE.ok(Evidence("description", there[0], "there", "there"))
    service = machine.unit(REFRESH)
    told = service.active if service is not None else "not installed"
    return NOT_THERE.problem(
        "CDI is switched on, and nothing describes the GPUs: containers that ask for them do not start",
        [
            Evidence("description", f"{WRITTEN}, {GENERATED}", "not there", "one of them"),
            Evidence("service", REFRESH, told, "inactive after success, or active"),
        ],
        cause="It was never generated, or its service failed.",
        guidance="Generate it.",
        remedy=(NvidiaCdi(id="accelerators.cdi"),) if loaded(facts) else (),
    )


def stale(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Libraries of another driver, device nodes that are gone, slices that are no more, two that contradict."""
    texts = {path: text for path in (WRITTEN, GENERATED) if (text := _text(machine, path)) is not None}
    if not texts:
        return STALE.not_applicable("nothing describes the GPUs for CDI")
    module = loaded(facts)
    evidence = []
    for path, text in texts.items():
        versions = set(_LIBRARY.findall(text))
        if module and versions and versions != {module}:
            evidence.append(Evidence("driver", path, ", ".join(sorted(versions)), module))
        gone = [one for one in _paths(text) if not _exists(machine, one)]
        evidence += [Evidence("path", path, f"{one} is not there", "there") for one in gone[:3]]
        evidence += [Evidence("slice", path, one, "a slice that exists") for one in _slices(text, facts)[:3]]
    if not evidence:
        return STALE.ok()
    return STALE.problem(
        "The description of the GPUs does not fit what is here",
        evidence,
        cause="The driver was changed, or MIG was laid out anew, and nobody generated it again.",
        guidance=f"Generate it again. What stands in {WRITTEN} wins over {GENERATED}: remove the one that is old.",
        remedy=(NvidiaCdi(id="accelerators.cdi"),) if module else (),
    )


def _paths(text: str) -> list[str]:
    return list(dict.fromkeys(first or second for first, second in _HOST_PATH.findall(text)))[:MOST_PATHS]


def _slices(text: str, facts: NvidiaFacts) -> list[str]:
    """Slices that are described and do not exist; none where the driver does not tell."""
    if not isinstance(facts.nvml, Known) or not facts.nvml.value.is_healthy:
        return []
    here = {one for gpu in facts.nvml.value.gpus for one in gpu.slices}
    return [one for one in dict.fromkeys(_SLICE.findall(text)) if one not in here]


def _exists(machine: Machine, path: str) -> bool:
    try:
        return machine.entry(path) is not None
    except CannotTell:
        return True  # nobody can tell, so nothing is claimed


def _text(machine: Machine, path: str) -> str | None:
    try:
        return machine.text(path)
    except CannotTell:
        return None


CHECKS = (
    nvidia_check(NOT_THERE, not_there, "nvidia-module-missing"),
    nvidia_check(STALE, stale, "nvidia-module-missing"),
)
