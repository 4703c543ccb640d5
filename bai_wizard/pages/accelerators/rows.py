"""The table of the Accelerators page: the cards, and what each field is on the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bai_wizard.core.display import gauge
from bai_wizard.core.page import Absent, Context, Known, ReferenceTable, Row, Unknown, cannot_tell
from bai_wizard.locale import N_, ntr, tr
from bai_wizard.node.hardware import Gpu, Nvml
from bai_wizard.pages.accelerators.facts import AcceleratorsFacts, GpuUser, NvidiaFacts, vendor_of

Pair = tuple[str, str]
LOCKING = "need unlimited locked memory: set LimitMEMLOCK=infinity for the agent's service (tuning.services)"
TOOLKIT = ("accelerators.toolkit", "accelerators.toolkit-lists", "accelerators.nvidia-container-toolkit-key",
           "accelerators.nvidia-container-toolkit-source", "accelerators.docker-config")  # fmt: skip
ROWS = (
    Row("accelerators.nvidia", now=("NVIDIA",)),
    Row(
        "accelerators.nvidia.driver",
        now=(N_("Driver"),),
        steps=("accelerators.driver", "accelerators.lists", "accelerators.load", "accelerators.cards"),
    ),
    Row("accelerators.nvidia.cuda_toolkit", now=(N_("CUDA runtime"),), steps=("accelerators.cuda",)),
    Row("accelerators.nvidia.container_toolkit", now=(N_("Container toolkit"),), steps=TOOLKIT),
    Row(
        "accelerators.nvidia.fabric_manager",
        now=("NVSwitches",),
        steps=("accelerators.fabric", "accelerators.fabric-manager"),
    ),
    Row("accelerators.nvidia.persistence", steps=("accelerators.persistence",)),
    Row("accelerators.nvidia.hold", steps=("accelerators.hold",)),
    Row("accelerators.nvidia.apt_url", default="developer.download.nvidia.com", is_advanced=True),
    Row("accelerators.nvidia.key_file", default=N_("built in or downloaded"), is_advanced=True),
)


def card_table(_settings: object, facts: AcceleratorsFacts, _context: Context) -> ReferenceTable:
    """One row per GPU or NPU: its memory, its driver and what uses it."""
    headings = ("#", N_("Model"), N_("Memory"), N_("Driver"), N_("Used by"))
    nvidia = facts.nvidia if facts.nvidia is not None and facts.nvidia.is_healthy else None
    gpus = {gpu.address: gpu for gpu in nvidia.gpus} if nvidia is not None else {}
    rows, notes = [], []
    for number, card in enumerate(facts.cards.value if isinstance(facts.cards, Known) else ()):
        gpu = gpus.get(card.address)
        if gpu is None or nvidia is None:
            used = tr("reserved for a virtual machine") if card.is_passed_through else ""
            rows.append((str(number), card.model, "", card.driver or tr("no driver"), used))
            notes.append(card.address)
            continue
        users = [user for user in nvidia.users if user.address == card.address]
        driver = nvidia.nvml.value.driver if isinstance(nvidia.nvml, Known) else ""
        names = dict.fromkeys(user.container or user.name or str(user.pid) for user in users)
        rows.append(
            (str(number), gpu.name.removeprefix("NVIDIA "), _memory(gpu), driver, ", ".join(names) or tr("nothing"))
        )
        notes.append("  ".join([card.address, gpu.uuid, *map(_user_text, users)]))
    return ReferenceTable(N_("GPUs"), headings, tuple(rows), notes=tuple(notes))


def _memory(gpu: Gpu) -> str:
    if gpu.lost or not gpu.memory:
        return tr("does not respond")
    text = tr("{used} of {total} GiB", used=f"{gpu.used / 2**30:.0f}", total=f"{gpu.memory / 2**30:.0f}")
    return f"{gauge(gpu.used / gpu.memory)} {text}"


def _user_text(user: GpuUser) -> str:
    program = f"{user.name or '?'} ({user.pid})"
    where = tr("{program} in container {name}", program=program, name=user.container) if user.container else program
    return f"{where}, {user.memory / 2**30:.1f} GiB" if user.memory else where


def now(facts: AcceleratorsFacts) -> tuple[Pair, ...]:
    """Return one row per card model; then, by vendor, what is known and what is missing."""
    if isinstance(facts.cards, Unknown):
        return ((N_("Accelerators"), cannot_tell(facts.cards)),)
    integrated = tr("{model}: integrated GPU, set up by NVIDIA's JetPack", model=facts.tegra)
    rows = [(vendor_of("nvidia").name, integrated)] if facts.tegra else []
    if not isinstance(facts.cards, Known) or not facts.cards.value:
        return tuple(rows) or ((N_("Accelerators"), tr("none")),)
    counted = Counter((card.vendor, card.model, card.driver) for card in facts.cards.value)
    rows += [
        (vendor_of(vendor).name, f"{count} × {model} ({driver or tr('no driver')})")
        for (vendor, model, driver), count in counted.items()
    ]
    for card in facts.passed_through:
        text = tr(
            "{address} is left alone: {driver} keeps it for a virtual machine",
            address=card.address,
            driver=card.driver,
        )
        rows.append((vendor_of(card.vendor).name, text))
    if facts.nvidia is not None:
        rows += _nvidia_rows(facts.nvidia)
    for vendor in facts.vendors:
        known = vendor_of(vendor.key)
        slots = f"{', '.join(known.wheels)}: {', '.join(known.slots)}"
        only = f" ({known.only})" if known.only else ""
        rows.append((tr("{vendor} plug-in", vendor=known.name), f"{slots}{only}"))
        if known.memlock and not vendor.has_agent:
            rows.append((tr("{vendor} sessions", vendor=known.name), LOCKING))
        rows += [(tr("{vendor} missing", vendor=known.name), lack.what) for lack in vendor.missing]
    rows += [(name, message) for name, message in facts.smi]
    return tuple(rows)


def _nvidia_rows(facts: NvidiaFacts) -> Iterator[Pair]:
    yield N_("Driver"), _driver_text(facts)
    if isinstance(facts.nvml, Known) and facts.nvml.value.is_healthy:
        for gpu, count in Counter(_gpu_text(gpu) for gpu in facts.nvml.value.gpus).items():
            yield N_("GPUs"), f"{count} × {gpu}"
        lost = len([gpu for gpu in facts.nvml.value.gpus if gpu.lost])
        if lost:
            yield N_("Lost"), ntr("{count} GPU does not respond", "{count} GPUs do not respond", lost)
    if facts.switches:
        manager = next(
            (f"{name} {version}" for name, version in facts.packages if "fabricmanager" in name), tr("none")
        )
        yield "NVSwitches", tr("{count}, fabric manager: {version}", count=facts.switches, version=manager)
    yield N_("CUDA runtime"), _fact_text(facts.cudart, tr("not loadable"))
    toolkit = facts.version_of("nvidia-container-toolkit")
    yield N_("Container toolkit"), toolkit or tr("not installed")
    if isinstance(facts.runtimes, Known):
        yield N_("Docker runtime"), tr("registered") if "nvidia" in facts.runtimes.value else tr("not registered")


def _driver_text(facts: NvidiaFacts) -> str:
    if isinstance(facts.nvml, Unknown):
        return cannot_tell(facts.nvml)
    if isinstance(facts.nvml, Absent):
        return tr("loaded, but its library is missing") if isinstance(facts.loaded, Known) else tr("not installed")
    answer: Nvml = facts.nvml.value
    if not answer.is_healthy:
        return f"not working: {answer.message} (NVML {answer.error})"
    kind = "open" if facts.is_open else "closed"
    source = f", installed by NVIDIA's .run installer ({facts.runfile})" if facts.runfile else ""
    return f"{answer.driver} ({kind} modules), supports CUDA {answer.cuda[0]}.{answer.cuda[1]}{source}"


def _gpu_text(gpu: Gpu) -> str:
    if gpu.lost:
        return gpu.lost
    parts = [gpu.name, f"{gpu.memory / 2**30:.0f} GiB"]
    if gpu.mig is not None and gpu.mig[0]:
        parts.append(f"MIG with {len(gpu.slices)} device{'s' * (len(gpu.slices) != 1)}")
    if gpu.ecc is not None:
        parts.append(f"ECC {'on' if gpu.ecc else 'off'}")
    if gpu.persistence is not None:
        parts.append(f"persistence {'on' if gpu.persistence else 'off'}")
    if gpu.fabric:
        parts.append(f"fabric {gpu.fabric}")
    return ", ".join(parts)


def _fact_text(fact: object, absent: str) -> str:
    if isinstance(fact, Known):
        return str(fact.value)
    return cannot_tell(fact) if isinstance(fact, Unknown) else absent
