"""The accelerators of a node in a few lines, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bai_wizard.core.facts import Absent, Known, Unknown
from bai_wizard.machine.nvml import Gpu, Nvml
from bai_wizard.pages.accelerators import catalogue
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts

Row = tuple[str, str]
LOCKING = "lock memory without a limit: the agent's service will need LimitMEMLOCK=infinity (tuning.services)"


def now(facts: AcceleratorsFacts) -> tuple[Row, ...]:
    """Alike cards in a line; then, vendor by vendor, what is known and what is missing."""
    if isinstance(facts.cards, Unknown):
        return (("Accelerators", f"cannot tell: {facts.cards.reason}"),)
    if not isinstance(facts.cards, Known) or not facts.cards.value:
        return (("Accelerators", "none in this node"),)
    counted = Counter((card.vendor, card.model, card.driver) for card in facts.cards.value)
    rows = [
        (catalogue.vendor(vendor).name, f"{count} × {model} ({driver or 'no driver'})")
        for (vendor, model, driver), count in counted.items()
    ]
    if facts.nvidia is not None:
        rows += _nvidia(facts.nvidia)
    for vendor in facts.vendors:
        known = catalogue.vendor(vendor.key)
        rows.append((f"{known.name} plug-in", f"{', '.join(known.wheels)}: {', '.join(known.slots)}"))
        if known.memlock and not vendor.has_agent:
            rows.append((f"{known.name} sessions", LOCKING))
        rows += [(f"{known.name} lacks", lack.what) for lack in vendor.lacking]
    rows += [(name, told) for name, told in facts.smi]
    return tuple(rows)


def _nvidia(facts: NvidiaFacts) -> Iterator[Row]:
    yield "Driver", _driver(facts)
    if isinstance(facts.nvml, Known) and facts.nvml.value.is_healthy:
        for gpu, count in Counter(_gpu(gpu) for gpu in facts.nvml.value.gpus).items():
            yield "GPUs", f"{count} × {gpu}"
        lost = len([gpu for gpu in facts.nvml.value.gpus if gpu.lost])
        if lost:
            yield "Lost", f"{lost} GPUs give no answer"
    if facts.switches:
        manager = next((f"{name} {version}" for name, version in facts.packages if "fabricmanager" in name), "none")
        yield "NVSwitches", f"{facts.switches}, fabric manager: {manager}"
    yield "CUDA runtime", _fact(facts.cudart, "not to be loaded")
    toolkit = facts.version_of("nvidia-container-toolkit")
    yield "Container toolkit", toolkit or "not installed"
    if isinstance(facts.runtimes, Known):
        yield "Docker runtime", "registered" if "nvidia" in facts.runtimes.value else "not registered"


def _driver(facts: NvidiaFacts) -> str:
    if isinstance(facts.nvml, Unknown):
        return f"cannot tell: {facts.nvml.reason}"
    if isinstance(facts.nvml, Absent):
        return "loaded, but its library is missing" if isinstance(facts.loaded, Known) else "not installed"
    answer: Nvml = facts.nvml.value
    if not answer.is_healthy:
        return f"does not work: {answer.message} (NVML {answer.error})"
    kind = "open" if facts.is_open else "closed"
    source = f", by NVIDIA's installer ({facts.runfile})" if facts.runfile else ""
    return f"{answer.driver} ({kind} modules), CUDA up to {answer.cuda[0]}.{answer.cuda[1]}{source}"


def _gpu(gpu: Gpu) -> str:
    if gpu.lost:
        return gpu.lost
    parts = [gpu.name, f"{gpu.memory / 2**30:.0f} GiB"]
    if gpu.mig is not None and gpu.mig[0]:
        parts.append(f"MIG with {len(gpu.slices)} slices")
    if gpu.ecc is not None:
        parts.append(f"ECC {'on' if gpu.ecc else 'off'}")
    if gpu.persistence is not None:
        parts.append(f"persistence {'on' if gpu.persistence else 'off'}")
    if gpu.fabric:
        parts.append(f"fabric {gpu.fabric}")
    return ", ".join(parts)


def _fact(fact: object, absent: str) -> str:
    if isinstance(fact, Known):
        return str(fact.value)
    return f"cannot tell: {fact.reason}" if isinstance(fact, Unknown) else absent
