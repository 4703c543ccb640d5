"""Whether the NVIDIA driver works: module, libraries, packages, and modules built on the node."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Check, Context, Evidence, Known, value_of, value_or
from bai_wizard.node.hardware import MISMATCH
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import (
    FABRIC_PACKAGES,
    AcceleratorsFacts,
    Card,
    NvidiaFacts,
    VendorFacts,
    vendor_of,
)
from bai_wizard.pages.accelerators.nvidia.driver import (
    DRIVER_PACKAGES,
    installed_branch,
    is_transitional,
    library_package,
)
from bai_wizard.pages.accelerators.nvidia.driver_steps import MODULE_VERSION, NouveauOff, upstream
from bai_wizard.pages.accelerators.nvidia.plan import load_step
from bai_wizard.pages.accelerators.probe import probe
from bai_wizard.pages.accelerators.settings import AcceleratorsSettings
from bai_wizard.pages.check import NotApplicable, Outcome, check, not_applicable, ok, problem, unknown, warning
from bai_wizard.steps.packages import Packages

# Seconds: the driver's timeout, plus that of an engine that does not respond either, and a margin.
DEADLINE = 28.0
# Seconds for which facts are reused: the checks of one page run in sequence, and nothing changes meanwhile.
KEPT = 60.0

T = TypeVar("T")
NvidiaCheck = Callable[[Machine, Context, NvidiaFacts, tuple[Card, ...]], Outcome]
VendorCheck = Callable[[Machine, Context, VendorFacts, tuple[Card, ...]], Outcome]
_known: WeakKeyDictionary[Machine, tuple[float, AcceleratorsFacts]] = WeakKeyDictionary()


def facts_of(machine: Machine, context: Context) -> AcceleratorsFacts:
    """Return the facts of the page. Facts younger than KEPT are not probed again."""
    since, facts = _known.get(machine, (0.0, None))
    if facts is None or time.monotonic() - since > KEPT:
        facts = probe(machine, AcceleratorsSettings(), context)
        _known[machine] = (time.monotonic(), facts)
    return facts


def nvidia_check(id: str, *, needs: tuple[str, ...] = (), needs_root: bool = False) -> Callable[[NvidiaCheck], Check]:
    """`@check` for a function that applies only to nodes with NVIDIA GPUs."""

    def decorate(function: NvidiaCheck) -> Check:
        @check(id, needs=needs, deadline=DEADLINE, needs_root=needs_root, cost="shared")
        def begin(machine: Machine, context: Context) -> Outcome:
            facts = facts_of(machine, context)
            value_of(facts.cards)
            cards = facts.of("nvidia")
            if facts.tegra:
                return not_applicable(f"the GPU of this system is set up by NVIDIA's JetPack ({facts.tegra})")
            left = [card for card in facts.passed_through if card.vendor == "nvidia"]
            if left and not cards:
                return not_applicable(f"{left[0].driver} keeps all NVIDIA GPUs for virtual machines")
            if facts.nvidia is None or not cards:
                return not_applicable("this node has no NVIDIA GPU")
            return function(machine, context, facts.nvidia, cards)

        return begin

    return decorate


def vendor_check(id: str, vendor: str) -> Callable[[VendorCheck], Check]:
    """`@check` for a function that applies only to nodes with cards of another vendor."""

    def decorate(function: VendorCheck) -> Check:
        @check(id, deadline=DEADLINE, cost="shared")
        def begin(machine: Machine, context: Context) -> Outcome:
            facts = facts_of(machine, context)
            value_of(facts.cards)
            present = next((each for each in facts.vendors if each.key == vendor), None)
            if present is None:
                return not_applicable(f"this node has no {vendor_of(vendor).name} card")
            return function(machine, context, present, facts.of(vendor))

        return begin

    return decorate


def ask_engine(machine: Machine, path: str, kind: type[T]) -> T:
    """Return the engine's answer to a request. Raises NotApplicable if it is not a `kind`: Docker is not running."""
    answer = machine.engine(path)
    if not isinstance(answer, kind):
        raise NotApplicable("Docker is not running on this node")
    return answer


def engine_version(machine: Machine) -> str:
    """Return the engine's version; empty if it is not running. Raises StateUnknown."""
    version = machine.engine("/version")
    return str(version.get("Version", "")) if isinstance(version, dict) else ""


def loaded(facts: NvidiaFacts) -> str:
    """Return the version of the loaded module; empty if none is loaded or it is unknown."""
    return value_or(facts.loaded, "")


def require_module(facts: NvidiaFacts) -> str:
    """Return the version of the loaded module. Raises NotApplicable if none is loaded or it is unknown."""
    module = loaded(facts)
    if not module:
        raise NotApplicable("no NVIDIA module is loaded")
    return module


def kernel_log(machine: Machine, pattern: str) -> tuple[str, ...]:
    """Return lines of this boot's kernel log that contain a word. Raises StateUnknown if the log cannot be read."""
    try:
        answer = machine.query(
            ("journalctl", "-k", "-b", "--no-pager", "-q", "-o", "cat", "-g", pattern), deadline=5.0
        )
    except StateUnknown:
        answer = machine.query(("dmesg",))
        return tuple(line for line in answer.out.split("\n") if pattern in line)
    return tuple(line for line in answer.out.split("\n") if line)


def driver_messages(machine: Machine) -> tuple[str, ...]:
    """Return the driver's lines of the kernel log; none if the log cannot be read."""
    try:
        return kernel_log(machine, "NVRM")
    except StateUnknown:
        return ()


NEEDS = ("accelerators.nvidia-module-missing",)
NOTHING_BUILT = "no module is built on this node"
DKMS = ("nvidia-dkms", "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-kernel-open-dkms")
TREE = "/var/lib/dkms/nvidia"
_REFUSED = re.compile(r"key was rejected|unavailable key", re.IGNORECASE)
_WRONG_KIND = re.compile(r"requires use of the NVIDIA open kernel modules|does not support the open", re.IGNORECASE)
_COMPILER = re.compile(r"unrecognized command-line option|compiler differs from the one used to build the kernel")
_SOURCE = re.compile(r"implicit declaration|conftest|error: .*(undeclared|has no member|too (few|many) arguments)")


@nvidia_check("accelerators.nvidia-module-missing", needs=("accelerators.nvidia-nouveau",))
def module_loaded(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    if facts.container:
        return not_applicable("this node is a container: the module belongs to its host")
    module = value_of(facts.loaded)
    built = {kernel: has_module(machine, kernel) for kernel in facts.kernels.all}
    evidence = [
        Evidence("nvidia.ko", f"/lib/modules/{kernel}/modules.dep", "present" if there else "missing", "present")
        for kernel, there in built.items()
    ]
    package = library_package(facts)
    if module is not None:
        if built.get(facts.kernels.next, True):
            return ok(*evidence)
        return warning(*evidence, variant="next-boot", kernel=facts.kernels.next)
    address = next(iter(facts.nouveau), "")
    if address:
        return problem(*evidence, variant="nouveau", address=address)
    if not package and not facts.runfile:
        return problem(*evidence, variant="no-driver")
    remedy = (load_step(facts, cards, package),) if package and built.get(facts.kernels.running) else ()
    return problem(*evidence, remedy=remedy, kernel=facts.kernels.running)


def has_module(machine: Machine, kernel: str) -> bool:
    """Whether depmod lists nvidia.ko for a kernel."""
    return re.search(r"(^|/)nvidia\.ko", machine.text(f"/lib/modules/{kernel}/modules.dep") or "", re.M) is not None


@nvidia_check("accelerators.nvidia-nouveau")
def no_nouveau(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    if not facts.nouveau:
        return ok()
    evidence = Evidence("driver", "/sys/bus/pci/drivers/nouveau", ", ".join(facts.nouveau), "nvidia")
    return problem(evidence, remedy=(NouveauOff(id="accelerators.nouveau", kernel=facts.kernels.next),))


@nvidia_check("accelerators.nvidia-secure-boot", needs_root=True)
def secure_boot(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The firmware does not reject the module because of its signature."""
    if not value_of(facts.secure_boot):
        return ok(Evidence("Secure Boot", "firmware", "off", "off, or signed modules"))
    if loaded(facts):
        return ok(Evidence("module", MODULE_VERSION, "loaded", "loaded"))
    try:
        refused = [line for line in kernel_log(machine, "key") if _REFUSED.search(line)]
    except StateUnknown as error:
        return unknown(f"Secure Boot is on and the kernel log cannot be read: {error}")
    if not refused:
        return ok(Evidence("Secure Boot", "firmware", "on, nothing rejected", "signed modules"))
    return problem(Evidence("kernel log", "journalctl -k", refused[-1], "no rejection"))


@nvidia_check("accelerators.nvidia-lib-mismatch", needs=NEEDS)
def same_version(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The loaded module, the installed libraries and the driver's own report have the same version."""
    module = require_module(facts)
    package = library_package(facts)
    version = facts.version_of(package)
    reported = isinstance(facts.nvml, Known) and facts.nvml.value.error == MISMATCH
    differs = bool(version) and upstream(version) != module
    if not (reported or (differs and not facts.is_healthy)):
        return ok(Evidence("module", MODULE_VERSION, module, upstream(version) or module))
    evidence = [
        Evidence("loaded module", MODULE_VERSION, module, upstream(version) or "the version of the libraries")
    ]
    if version:
        evidence.append(Evidence("libraries", f"package {package}", version, f"{module}-…"))
    return problem(*evidence, remedy=(load_step(facts, cards, package),) if package else ())


@nvidia_check("accelerators.nvidia-libnvidia-ml-missing", needs=NEEDS)
def library_installed(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """libnvidia-ml.so.1 is installed; all programs on the host and in containers use it."""
    module = require_module(facts)
    if value_of(facts.nvml) is not None:
        return ok()
    evidence = Evidence("libnvidia-ml.so.1", "ldconfig's cache", "missing", f"version {module}")
    return problem(evidence, branch=module[:3])


@nvidia_check("accelerators.nvidia-package-conflict")
def one_source(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The driver has one branch and one variant, without packages next to a driver from NVIDIA's own installer."""
    # dpkg allows only one fabric manager, so another branch's is transitional; its version has a check of its own.
    installed = [
        name
        for name in facts.named(*DRIVER_PACKAGES)
        if not name.startswith(FABRIC_PACKAGES) and not is_transitional(facts, name)
    ]
    branches = sorted({match[1] for name in installed if (match := re.search(r"-(\d{3})(?=-|$)", name))})
    plain = [name for name in installed if re.search(r"^libnvidia-compute-\d{3}$", name)]
    server = [name for name in installed if re.search(r"^libnvidia-compute-\d{3}-server$", name)]
    evidence = []
    if len(branches) > 1:
        evidence.append(Evidence("branches", "dpkg", ", ".join(branches), "one"))
    if plain and server:
        evidence.append(Evidence("flavors", "dpkg", ", ".join((*plain, *server)), "one"))
    if facts.runfile and installed_branch(facts):
        evidence.append(Evidence("NVIDIA's own installer", facts.runfile, "was used", "not alongside packages"))
    return problem(*evidence)


@nvidia_check("accelerators.nvidia-open-vs-closed", needs=NEEDS)
def module_type(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """The module type suits the GPUs: before Turing, open modules do not work; since Blackwell, only they do."""
    module = require_module(facts)
    generations = nvidia.generations(card.device for card in cards)
    wrong = [each.name for each in generations if each.open == ("no" if facts.is_open else "only")]
    kind, other = ("open", "closed") if facts.is_open else ("closed", "open")
    if not wrong:
        return ok(Evidence("modules", "/proc/driver/nvidia/version", kind, kind))
    lines = [line for line in driver_messages(machine) if _WRONG_KIND.search(line)]
    evidence = [Evidence("modules", "/proc/driver/nvidia/version", kind, other)]
    evidence += [Evidence("kernel log", "journalctl -k", line, "no complaint") for line in lines[-1:]]
    return problem(*evidence, generations=" and ".join(wrong), needed=other, loaded=kind, branch=module[:3])


@nvidia_check("accelerators.nvidia-smi-shadowed")
def own_smi(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """No other program named nvidia-smi comes first in PATH."""
    paths = [f"{directory}/nvidia-smi" for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin")]
    path = next((path for path in paths if machine.entry(path) is not None), "")
    return warning(Evidence("nvidia-smi", path, "present", "only /usr/bin/nvidia-smi"), path=path) if path else ok()


@nvidia_check("accelerators.nvidia-headers-missing")
def headers(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    if not _builds(facts):
        return not_applicable(NOTHING_BUILT)
    absent = [kernel for kernel in facts.kernels.all if machine.entry(f"/lib/modules/{kernel}/build") is None]
    absent = [kernel for kernel in absent if not has_module(machine, kernel)]
    if not absent:
        return ok()
    evidence = (Evidence("headers", f"/lib/modules/{kernel}/build", "missing", "present") for kernel in absent)
    names = tuple(f"linux-headers-{kernel}" for kernel in absent)
    return problem(
        *evidence,
        remedy=(Packages(id="accelerators.headers", names=names, why="install kernel headers for NVIDIA's module"),),
        kernel=absent[0],
    )


@nvidia_check("accelerators.nvidia-dkms-compiler")
def compiler(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """No build failed because the kernel was built with a newer compiler."""
    lines = [line for line in _failed(machine, facts) if _COMPILER.search(line)]
    if not lines:
        return ok() if _builds(facts) else not_applicable(NOTHING_BUILT)
    config = machine.text(f"/boot/config-{facts.kernels.next}") or ""
    match = re.search(r'CONFIG_CC_VERSION_TEXT="[^"]*?\b(\d{1,4})\.\d+', config)
    name = f"gcc-{match[1]}" if match else ""
    evidence = Evidence("build", f"{TREE}/…/make.log", lines[-1].strip(), name or "the kernel's compiler")
    if not name:
        return problem(evidence)
    install = Packages(id="accelerators.compiler", names=(name,), why="install the kernel's own compiler")
    return problem(evidence, variant="known", remedy=(install,), compiler=name)


@nvidia_check("accelerators.nvidia-dkms-too-new-kernel")
def kernel_supported(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Outcome:
    """No build failed because the driver does not know the interfaces of the kernel."""
    log = _failed(machine, facts)
    lines = [line for line in log if _SOURCE.search(line)]
    if not lines or any(_COMPILER.search(line) for line in log):
        return ok() if _builds(facts) else not_applicable(NOTHING_BUILT)
    evidence = Evidence("build", f"{TREE}/…/make.log", lines[-1].strip(), "no error")
    return problem(evidence, kernel=facts.kernels.next)


def _builds(facts: NvidiaFacts) -> bool:
    return bool(facts.named(*DKMS))


def _failed(machine: Machine, facts: NvidiaFacts) -> tuple[str, ...]:
    """The last lines of the newest build log, but only if the next kernel really lacks the module."""
    if not _builds(facts) or has_module(machine, facts.kernels.next):
        return ()
    lines: list[str] = []
    for version in machine.names(TREE):
        for path in (
            f"{TREE}/{version}/build/make.log",
            f"{TREE}/{version}/{facts.kernels.next}/x86_64/log/make.log",
        ):
            try:
                lines += (machine.text(path) or "").split("\n")[-200:]
            except StateUnknown:
                continue
    return tuple(lines)
