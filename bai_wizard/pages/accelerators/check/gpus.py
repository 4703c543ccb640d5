"""What the doctor looks at in the GPUs themselves: lost ones, memory errors, MIG, persistence."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.machine.nvml import Gpu
from bai_wizard.pages.accelerators.check.look import PAGE, kernel_log, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.nvidia_driver import PERSISTENCED
from bai_wizard.steps.nvidia_persistence import NvidiaPersistence

DROPPED = Subject("nvidia-xid79", PAGE, "Every GPU on the bus answers", owner="site")
MEMORY = Subject("nvidia-ecc", PAGE, "The GPUs' memory has no errors that cannot be corrected", owner="site")
MIG_PENDING = Subject("nvidia-mig-pending", PAGE, "No change of the MIG mode waits", owner="site")
MIG_LOST = Subject("nvidia-mig-lost", PAGE, "GPUs in MIG mode have slices", owner="site")
PERSISTENCE = Subject("nvidia-persistence", PAGE, "The driver stays initialised between jobs")
VBIOS = Subject("nvidia-false-vbios", PAGE, "An unreadable VBIOS version alone means nothing")
NVML = "NVIDIA's library"
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
_DROPPED = re.compile(r"fallen off the bus|Unable to determine the device handle", re.IGNORECASE)
# Xid 48, 63, 64, 94 and 95 are memory errors, 79 is a GPU that is gone (NVIDIA, «Xid Errors»).
MEMORY_XIDS = ("48", "63", "64", "94", "95")


def dropped(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """GPUs on the bus that the driver does not have, and what the kernel says of them."""
    if not facts.is_healthy:
        return DROPPED.not_applicable("the driver does not answer; other checks say why")
    there = {gpu.address for gpu in _gpus(facts) if not gpu.lost}
    absent = [card.address for card in cards if card.driver == "nvidia" and card.address not in there]
    lines = _log(machine, "NVRM")
    said = [line for line in lines if _DROPPED.search(line) or _xid(line) == "79"]
    if not absent:
        return DROPPED.ok(Evidence("GPUs", NVML, str(len(there)), str(len(cards))))
    evidence = [Evidence("GPU", NVML, f"{address} gives no answer", "answers") for address in absent]
    evidence += [Evidence("kernel log", "journalctl -k", line, "no complaint") for line in said[-1:]]
    return DROPPED.problem(
        f"{len(absent)} of {len(cards)} GPUs do not answer",
        evidence,
        cause="Power, heat, seating, riser or firmware: a GPU that falls off the bus is hardware.",
        guidance="Drain the node, switch it off and on again (not only a restart), check power and temperature,"
        " reseat the card. If it comes back, it was that; if not, the vendor wants nvidia-bug-report.sh's file.",
        risk="Loading the driver again and again does not help and can hang the node.",
    )


def memory(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Uncorrectable errors, and rows that wait to be remapped."""
    if not facts.is_healthy:
        return MEMORY.not_applicable("the driver does not answer; other checks say why")
    evidence = []
    for gpu in _gpus(facts):
        if gpu.uncorrected:
            evidence.append(Evidence(gpu.address, NVML, f"{gpu.uncorrected} uncorrectable errors", "0"))
        if gpu.remap is not None and any(gpu.remap):
            told = "remapping failed" if gpu.remap[1] else "a row waits to be remapped"
            evidence.append(Evidence(gpu.address, NVML, told, "no row waits"))
    evidence += [
        Evidence("kernel log", "journalctl -k", line, "no memory error")
        for line in _log(machine, "NVRM")
        if _xid(line) in MEMORY_XIDS
    ][-3:]
    if not evidence:
        return MEMORY.ok()
    failed = any(gpu.remap is not None and gpu.remap[1] for gpu in _gpus(facts))
    return MEMORY.problem(
        "A GPU's memory has errors",
        evidence,
        cause="Failing memory cells; the driver sets bad rows aside when the GPU is reset.",
        guidance="Remapping failed: have the GPU replaced."
        if failed
        else "Drain the node and restart it: bad rows are"
        " set aside then. If errors come back, have the GPU replaced.",
        risk="Jobs on that GPU compute with wrong data or end.",
    )


def mig_pending(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """A MIG mode that was asked for and is not in effect."""
    waiting = [gpu for gpu in _gpus(facts) if gpu.mig is not None and gpu.mig[0] != gpu.mig[1]]
    if not waiting:
        return MIG_PENDING.ok()
    word = {True: "on", False: "off"}
    evidence = [
        Evidence(gpu.address, NVML, f"MIG is {word[gpu.mig[0]]}", word[gpu.mig[1]]) for gpu in waiting if gpu.mig
    ]
    return MIG_PENDING.warning(
        f"A change of the MIG mode waits on {len(waiting)} GPUs",
        evidence,
        cause="The mode changes when the GPU is reset, and something holds it: a job, a monitor, a daemon.",
        guidance="Stop what uses the GPU (nvidia-persistenced, nvidia-fabricmanager, dcgm), then nvidia-smi"
        " --gpu-reset -i N; or restart the node.",
        risk="A reset ends the jobs on that GPU.",
    )


def mig_lost(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """MIG mode outlives a reboot, slices do not."""
    empty = [gpu for gpu in _gpus(facts) if gpu.mig is not None and gpu.mig[0] and not gpu.slices]
    if not empty:
        return MIG_LOST.ok()
    return MIG_LOST.problem(
        f"{len(empty)} GPUs are in MIG mode and have no slices: no session can use them",
        [Evidence(gpu.address, NVML, "no slices", "slices") for gpu in empty],
        cause="The mode is kept over a reboot, the slices are not; they were made by hand.",
        guidance="Make them at every boot, before Docker: nvidia-mig-parted with its systemd service. Describe the"
        " GPUs for containers anew afterwards.",
    )


def persistence(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Without it the driver is initialised anew for each job, and settings are lost."""
    off = [gpu for gpu in _gpus(facts) if gpu.persistence is False]
    if isinstance(facts.nvml, Unknown):
        return PERSISTENCE.cannot_tell(facts.nvml.reason)
    if not off:
        return PERSISTENCE.ok()
    has_daemon = machine.unit(PERSISTENCED) is not None
    return PERSISTENCE.warning(
        f"Persistence mode is off on {len(off)} GPUs: the first use of a GPU takes seconds",
        [Evidence(gpu.address, NVML, "off", "on") for gpu in off],
        cause="nvidia-persistenced does not run, or its unit starts it with --no-persistence-mode, as Ubuntu's does.",
        guidance="Run the daemon in persistence mode; it holds the GPUs, so stop it before changing the MIG mode.",
        remedy=(NvidiaPersistence(id="accelerators.persistence"),) if has_daemon else (),
    )


def vbios(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """A rule against a false alarm: healthy headless GPUs leave that field unset."""
    directory = "/proc/driver/nvidia/gpus"
    unset = [
        address
        for address in machine.names(directory)
        if "??.??" in (machine.kernel_text(f"{directory}/{address}/information") or "")
    ]
    if not unset or not facts.is_healthy:
        return VBIOS.not_applicable("nothing that could be mistaken for a fault")
    return VBIOS.ok(Evidence("VBIOS version", directory, "unset", "unset or set: the driver answers"))


def _gpus(facts: NvidiaFacts) -> tuple[Gpu, ...]:
    return facts.nvml.value.gpus if isinstance(facts.nvml, Known) else ()


def _log(machine: Machine, pattern: str) -> tuple[str, ...]:
    try:
        return kernel_log(machine, pattern)
    except CannotTell:
        return ()


def _xid(line: str) -> str:
    found = _XID.search(line)
    return found[2] if found else ""


CHECKS = (
    nvidia_check(DROPPED, dropped, "nvidia-module-missing", "nvidia-lib-mismatch"),
    nvidia_check(MEMORY, memory, "nvidia-module-missing"),
    nvidia_check(MIG_PENDING, mig_pending, "nvidia-module-missing"),
    nvidia_check(MIG_LOST, mig_lost, "nvidia-module-missing"),
    nvidia_check(PERSISTENCE, persistence, "nvidia-module-missing"),
    nvidia_check(VBIOS, vbios),
)
