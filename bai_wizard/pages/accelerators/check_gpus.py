"""Whether NVIDIA GPUs and CUDA work: fabric manager, lost GPUs, memory errors, MIG, requirements of images."""

from __future__ import annotations

import re

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Context, Evidence, Known, value_of
from bai_wizard.core.parse import whole
from bai_wizard.core.step import Step
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.check_driver import ask_engine, driver_messages, loaded, nvidia_check
from bai_wizard.pages.accelerators.facts import Card, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia.driver import desktop_flavor, drivers_source, fabric_package, source_of
from bai_wizard.pages.accelerators.nvidia.driver_steps import FABRIC_MANAGER, PERSISTENCED, branch_of, upstream
from bai_wizard.pages.accelerators.nvidia.steps import FabricManager, NvidiaFabric, NvidiaPersistence
from bai_wizard.pages.check import Outcome, not_applicable, ok, problem, warning
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.services import Service

NEEDS = ("accelerators.nvidia-module-missing",)
NEEDS_SAME_VERSION = (*NEEDS, "accelerators.nvidia-lib-mismatch")
NO_RESPONSE = "the driver does not respond; other checks report why"
NVML = "NVIDIA's library"
# Xid 48, 63, 64, 94 and 95 are memory errors, 79 is a GPU that fell off the bus (NVIDIA, "Xid Errors").
MEMORY_XIDS = ("48", "63", "64", "94", "95")
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+)")
_DROPPED = re.compile(r"fallen off the bus|Unable to determine the device handle", re.IGNORECASE)


@nvidia_check("accelerators.nvidia-fabricmanager-version", needs=NEEDS_SAME_VERSION)
def fabric_version(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The fabric manager has the driver's version; any other does not start."""
    package, driver = fabric_package(facts), loaded(facts)
    if not package or not driver:
        return not_applicable("no fabric manager is installed, or no driver is loaded")
    version = upstream(facts.version_of(package))
    evidence = Evidence("fabric manager", f"package {package}", version, driver)
    if version == driver or not facts.has_switches:
        return ok(evidence)
    return problem(evidence, remedy=_install_fabric_manager(facts), version=version, driver=driver)


@nvidia_check(
    "accelerators.nvidia-fabricmanager-missing", needs=("accelerators.nvidia-fabricmanager-version", *NEEDS)
)
def fabric_initialized(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The fabric is initialized; before that CUDA does not start, although nvidia-smi works."""
    if not facts.has_switches:
        return not_applicable("this node has no NVSwitches")
    if not loaded(facts):
        return not_applicable("no driver is loaded; other checks report why")
    unit = machine.unit(FABRIC_MANAGER)
    states = sorted({gpu.fabric for gpu in facts.gpus if gpu.fabric})
    evidence = [
        Evidence("service", FABRIC_MANAGER, unit.active if unit is not None else "not installed", "active"),
        *(Evidence("fabric", NVML, state, "completed") for state in states),
    ]
    if unit is not None and unit.active == "active" and all(state == "completed" for state in states):
        return ok(*evidence)
    lacks = _subnet_manager(machine, facts) if facts.nvlink5 else []
    if lacks:
        return problem(*evidence, *lacks, variant="nvlink5")
    return problem(*evidence, remedy=_install_fabric_manager(facts))


def _subnet_manager(machine: Machine, facts: NvidiaFacts) -> list[Evidence]:
    """What the fabric manager for NVLink 5 requires and this node lacks."""
    loaded_modules = machine.names("/sys/module")
    lacks = [Evidence("package", "dpkg", "nvlsm is not installed", "installed")] if not facts.named("nvlsm") else []
    modules = (name for name in nvidia.data().nvlink5_modules if name not in loaded_modules)
    return lacks + [Evidence("module", "/sys/module", f"{name} is not loaded", "loaded") for name in modules]


@nvidia_check("accelerators.nvidia-fabricmanager-not-needed")
def fabric_needed(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The fabric manager did not fail for lack of NVSwitches, in which case the failure is irrelevant."""
    unit = machine.unit(FABRIC_MANAGER)
    # A disabled unit keeps the state of its last failure until the next boot, which is not reported.
    if facts.has_switches or unit is None or unit.enabled != "enabled":
        return ok()
    disable = Service(
        id="accelerators.fabric-manager", unit=FABRIC_MANAGER, enabled=False, active=False, interrupts=("gpu.reload",)
    )
    evidence = Evidence("service", FABRIC_MANAGER, f"{unit.enabled}, {unit.active}", "disabled")
    return warning(evidence, remedy=(disable,))


def _install_fabric_manager(facts: NvidiaFacts) -> tuple[Step, ...]:
    """Install the package in the loaded module's version, if the system's source has one, and its service."""
    module = loaded(facts)
    source = drivers_source(facts, source_of(facts, "distribution"))
    if desktop_flavor(facts, source):
        return ()
    names = nvidia.names(source, branch_of(module), "server-open").fabric if source else ()
    package = next(iter(names), "") or fabric_package(facts)
    if not package:
        return ()
    install = (NvidiaFabric(id="accelerators.fabric", names=names, version=module),) if names else ()
    return (*install, FabricManager(id="accelerators.fabric-manager", package=package, after="accelerators.fabric"))


@nvidia_check("accelerators.nvidia-xid79", needs=NEEDS_SAME_VERSION)
def responding(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The driver knows every GPU on the bus; if not, the kernel log is the evidence."""
    if not facts.is_healthy:
        return not_applicable(NO_RESPONSE)
    present = {gpu.address for gpu in facts.gpus if not gpu.lost}
    absent = [card.address for card in cards if card.driver == "nvidia" and card.address not in present]
    lines = [line for line in driver_messages(machine) if _DROPPED.search(line) or _xid(line) == "79"]
    if not absent:
        return ok(Evidence("GPUs", NVML, str(len(present)), str(len(cards))))
    evidence = [Evidence("GPU", NVML, f"{address} does not respond", "responds") for address in absent]
    evidence += [Evidence("kernel log", "journalctl -k", line, "no complaint") for line in lines[-1:]]
    return problem(*evidence, lost=len(absent), total=len(cards))


@nvidia_check("accelerators.nvidia-ecc", needs=NEEDS)
def memory(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """There are no uncorrectable errors and no rows waiting to be remapped."""
    if not facts.is_healthy:
        return not_applicable(NO_RESPONSE)
    evidence = []
    for gpu in facts.gpus:
        if gpu.uncorrected:
            evidence.append(Evidence(gpu.address, NVML, f"{gpu.uncorrected} uncorrectable errors", "0"))
        if gpu.remap is not None and any(gpu.remap):
            state = "remapping failed" if gpu.remap[1] else "remapping of a row is pending"
            evidence.append(Evidence(gpu.address, NVML, state, "none pending"))
    evidence += [
        Evidence("kernel log", "journalctl -k", line, "no memory error")
        for line in driver_messages(machine)
        if _xid(line) in MEMORY_XIDS
    ][-3:]
    failed = any(gpu.remap is not None and gpu.remap[1] for gpu in facts.gpus)
    return problem(*evidence, variant="remapping-failed" if failed else "")


@nvidia_check("accelerators.nvidia-mig-pending", needs=NEEDS)
def mig_in_effect(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    word = {True: "on", False: "off"}
    evidence = [
        Evidence(gpu.address, NVML, f"MIG is {word[gpu.mig[0]]}", word[gpu.mig[1]])
        for gpu in facts.gpus
        if gpu.mig is not None and gpu.mig[0] != gpu.mig[1]
    ]
    return warning(*evidence)


@nvidia_check("accelerators.nvidia-mig-lost", needs=NEEDS)
def mig_devices(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """MIG devices exist: the MIG mode survives a reboot, but the devices do not."""
    empty = [gpu for gpu in facts.gpus if gpu.mig is not None and gpu.mig[0] and not gpu.slices]
    return problem(*(Evidence(gpu.address, NVML, "no MIG devices", "MIG devices") for gpu in empty))


@nvidia_check("accelerators.nvidia-persistence", needs=NEEDS)
def persistence(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """Persistence mode is on; without it, the driver is initialized for each job and settings are lost."""
    value_of(facts.nvml)
    off = [gpu for gpu in facts.gpus if gpu.persistence is False]
    if not off:
        return ok()
    has_daemon = machine.unit(PERSISTENCED) is not None
    return warning(
        *(Evidence(gpu.address, NVML, "off", "on") for gpu in off),
        remedy=(NvidiaPersistence(id="accelerators.persistence"),) if has_daemon else (),
    )


@nvidia_check("accelerators.nvidia-false-vbios")
def vbios(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """Never a problem: on GPUs without a display the version is unset, even if they are healthy."""
    directory = "/proc/driver/nvidia/gpus"
    unset = [
        address
        for address in machine.names(directory)
        if "??.??" in (machine.kernel_text(f"{directory}/{address}/information") or "")
    ]
    if not unset or not facts.is_healthy:
        return not_applicable("nothing that could be mistaken for a fault")
    return ok(Evidence("VBIOS version", directory, "unset", "set or unset: the driver responds"))


def _xid(line: str) -> str:
    match = _XID.search(line)
    return match[2] if match else ""


MAX_IMAGES = 40
VARIABLE = "NVIDIA_REQUIRE_CUDA="
PROFILE = "/etc/profile.d/bai-wizard-cuda.sh"
_CLAUSE = re.compile(r"(cuda|driver|brand|arch)(>=|<=|!=|=|<|>)([\w.]+)")


@nvidia_check("accelerators.cuda-runtime")
def runtime(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """A child process can load the library; without it, the plug-in cuda_open finds no GPU."""
    if "compute" not in context.roles:
        return not_applicable("this node runs no agent")
    library = value_of(facts.cudart)
    if library is not None:
        return ok(Evidence("libcudart", "ldconfig's cache", library, "any of CUDA 5 to 13"))
    return problem(Evidence("libcudart.so", "ldconfig's cache", "cannot be loaded", "for example libcudart.so.12"))


@nvidia_check("accelerators.nvidia-require-cuda", needs=NEEDS)
def required(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The driver satisfies the expression in the images' environment, as the toolkit evaluates it."""
    if not isinstance(facts.nvml, Known) or not facts.nvml.value.is_healthy:
        return not_applicable(NO_RESPONSE)
    images = ask_engine(machine, "/images/json", list)
    cuda, driver = facts.nvml.value.cuda, branch_of(facts.nvml.value.driver)
    evidence = []
    for image in images[:MAX_IMAGES]:
        expression = _requirement(machine, str(image.get("Id", "")))
        if expression and not satisfied(expression, cuda, driver):
            name = str((image.get("RepoTags") or [image.get("Id", "")])[0])
            wanted = next(iter(re.findall(r"cuda>=[\d.]+", expression)), expression)
            supported = f"the driver supports CUDA {cuda[0]}.{cuda[1]}"
            evidence.append(Evidence(name, "NVIDIA_REQUIRE_CUDA", supported, wanted))
    return warning(*evidence)


def _requirement(machine: Machine, image: str) -> str:
    try:
        details = machine.engine(f"/images/{image}/json")
    except StateUnknown:
        return ""
    config = (details.get("Config") or {}) if isinstance(details, dict) else {}
    lines = (line for line in config.get("Env") or () if line.startswith(VARIABLE))
    return next((str(line.removeprefix(VARIABLE)) for line in lines), "")


def satisfied(expression: str, cuda: tuple[int, int], branch: str) -> bool:
    """Evaluate a requirement: spaces separate alternatives, commas separate the clauses of one (`nvc --require`).

    This is the syntax of libnvidia-container. Brand and architecture always match: those alternatives are for other
    drivers, not for other GPUs.
    """
    return any(all(_holds(clause, cuda, branch) for clause in each.split(",")) for each in expression.split())


def _holds(clause: str, cuda: tuple[int, int], branch: str) -> bool:
    match = _CLAUSE.fullmatch(clause.strip())
    if match is None:
        return False
    what, operator, text = match.groups()
    if what in ("brand", "arch"):
        return True
    numbers = tuple(whole(part) for part in text.split(".") if part.isdigit())
    here: tuple[int, ...] = cuda if what == "cuda" else (whole(branch or 0),)
    there = (*numbers, 0, 0)[: len(here)]
    answers = {
        ">=": here >= there, "<=": here <= there, "=": here == there,
        "!=": here != there, "<": here < there, ">": here > there,
    }  # fmt: skip
    return answers[operator]


@nvidia_check("accelerators.nvidia-forward-compat")
def own_library(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The linker path of the host does not contain CUDA's compatibility directory."""
    directory = "/etc/ld.so.conf.d"
    lines = []
    for name in machine.names(directory):
        text = machine.text_behind_links(f"{directory}/{name}") if name.endswith(".conf") else ""
        lines += [
            f"{directory}/{name}: {line}" for line in (text or "").split("\n") if "cuda" in line and "compat" in line
        ]
    evidence = [Evidence("linker", line.partition(": ")[0], line.partition(": ")[2], "not listed") for line in lines]
    geforce = [card.model for card in cards if "GeForce" in card.model or card.model.startswith("RTX")]
    if geforce:
        return warning(*evidence, variant="unsupported-gpu", model=geforce[0])
    return warning(*evidence)


@nvidia_check("accelerators.nvidia-nvcc-missing")
def nvcc(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """nvcc is in PATH, which the toolkit's packages do not change. Containers do not need it."""
    if machine.entry("/usr/local/cuda") is None:
        return not_applicable("NVIDIA's CUDA toolkit is not installed")
    profiles = [f"/etc/profile.d/{name}" for name in machine.names("/etc/profile.d") if name.endswith(".sh")]
    if machine.entry("/usr/bin/nvcc") is not None or any(
        "cuda/bin" in (machine.text_behind_links(path) or "") for path in profiles
    ):
        return ok()
    text = (
        "# Written by bai-wizard: the CUDA toolkit for login shells.\nPATH=$PATH:/usr/local/cuda/bin\nexport PATH\n"
    )
    return warning(
        Evidence("PATH", "/etc/profile.d", "no line contains cuda/bin", "/usr/local/cuda/bin/nvcc"),
        remedy=(DropIn(id="accelerators.cuda-path", path=PROFILE, text=text, why="nvcc for login shells"),),
    )
