"""What the doctor looks at in NVIDIA's driver: module, libraries, packages, and what keeps them apart."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Known, Unknown
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.core.step import Step
from bai_wizard.machine.nvml import MISMATCH
from bai_wizard.pages.accelerators.check.look import AGAIN, PAGE, kernel_log, loaded, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.driver import DRIVER_PACKAGES, installed_branch
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.nouveau_off import NouveauOff
from bai_wizard.steps.nvidia_driver import MODULE
from bai_wizard.steps.nvidia_load import NvidiaLoad
from bai_wizard.steps.nvidia_versions import upstream

MISMATCHED = Subject("nvidia-lib-mismatch", PAGE, "NVIDIA's module and libraries are of one version")
MISSING = Subject("nvidia-module-missing", PAGE, "NVIDIA's kernel module is loaded, and there for the next boot")
NO_LIBRARY = Subject("nvidia-libnvidia-ml-missing", PAGE, "NVIDIA's management library is there")
CONFLICT = Subject("nvidia-package-conflict", PAGE, "The driver comes from one source")
NOUVEAU = Subject("nvidia-nouveau", PAGE, "The free driver nouveau leaves the GPUs alone")
SECURE_BOOT = Subject("nvidia-secure-boot", PAGE, "Secure Boot lets NVIDIA's module in", owner="site")
FLAVOUR = Subject("nvidia-open-vs-closed", PAGE, "The kernel modules are of the kind that these GPUs need")
SHADOWED = Subject("nvidia-smi-shadowed", PAGE, "nvidia-smi is the driver's own")
LIBRARIES = ("libnvidia-compute", "libnvidia-ml1", "nvidia-driver-cuda")
_REFUSED = re.compile(r"key was rejected|unavailable key", re.IGNORECASE)
_WRONG_KIND = re.compile(r"requires use of the NVIDIA open kernel modules|does not support the open", re.IGNORECASE)


def mismatched(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Loaded module against installed libraries, and the driver's own word."""
    module = loaded(facts)
    package, version = next(((name, text) for name, text in facts.packages if name.startswith(LIBRARIES)), ("", ""))
    said = isinstance(facts.nvml, Known) and facts.nvml.value.error == MISMATCH
    if not module:
        return MISMATCHED.not_applicable("no module of NVIDIA's is loaded")
    differs = bool(version) and upstream(version) != module
    if not (said or (differs and not facts.is_healthy)):
        return MISMATCHED.ok(Evidence("module", MODULE, module, upstream(version) or module))
    evidence = [Evidence("module that is loaded", MODULE, module, upstream(version) or "the libraries' version")]
    if version:
        evidence.append(Evidence("libraries", f"package {package}", version, f"{module}-…"))
    return MISMATCHED.problem(
        "The driver was updated, but the old one is still loaded",
        evidence,
        cause="An upgrade, often an unattended one, replaced the libraries; the kernel still holds the old module.",
        guidance="Restart the node. Without a restart only where no process holds a GPU: the remedy tries that. Then"
        " hold driver, fabric manager and toolkit as one set (accelerators.nvidia.hold), or it happens again.",
        risk="Reloading the module, like a restart, ends whatever uses a GPU.",
        remedy=_load(facts, cards, package),
    )


def missing(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """The module now, and the one that the next boot will look for."""
    if facts.container:
        return MISSING.not_applicable("this node is a container: the module belongs to its host")
    if isinstance(facts.loaded, Unknown):
        return MISSING.cannot_tell(facts.loaded.reason)
    built = {kernel: has_module(machine, kernel) for kernel in facts.kernels.all}
    evidence = [
        Evidence("nvidia.ko", f"/lib/modules/{kernel}/modules.dep", "there" if there else "not there", "there")
        for kernel, there in built.items()
    ]
    package = next((name for name, _ in facts.packages if name.startswith(LIBRARIES)), "")
    if isinstance(facts.loaded, Known):
        if built.get(facts.kernels.next, True):
            return MISSING.ok(*evidence)
        return MISSING.warning(
            f"The GPUs will be gone after the next boot: the kernel {facts.kernels.next} has no module of NVIDIA's",
            evidence,
            cause="The kernel was upgraded without its module: no headers, or the modules' package is held.",
            guidance=f"Install the module for {facts.kernels.next} before the node is restarted. {AGAIN}",
        )
    held = next(iter(facts.nouveau), "")
    if held:
        return MISSING.problem(
            f"NVIDIA's driver is not loaded: nouveau holds the GPU {held}",
            evidence,
            cause="The free driver was loaded first, at boot.",
            guidance="See nvidia-nouveau.",
        )
    if not package and not facts.runfile:
        return MISSING.problem(
            f"{len(cards)} NVIDIA GPUs and no driver",
            evidence,
            cause="No driver is installed.",
            guidance='Put [accelerators.nvidia] into the answers and apply the accelerators page: driver = "auto".',
        )
    return MISSING.problem(
        f"NVIDIA's driver is installed but not loaded for the kernel {facts.kernels.running}",
        evidence,
        cause="The module is not there for this kernel, or was not loaded after it was installed.",
        guidance=f"{AGAIN} It loads the module where there is one, and installs it where there is none.",
        remedy=_load(facts, cards, package) if built.get(facts.kernels.running) else (),
    )


def has_module(machine: Machine, kernel: str) -> bool:
    """True when depmod knows nvidia.ko for a kernel."""
    return re.search(r"(^|/)nvidia\.ko", machine.text(f"/lib/modules/{kernel}/modules.dep") or "", re.M) is not None


def _load(facts: NvidiaFacts, cards: tuple[Card, ...], package: str) -> tuple[Step, ...]:
    if not package:
        return ()
    return (
        NvidiaLoad(
            id="accelerators.load",
            package=package,
            after="",
            devices=tuple(card.address for card in cards),
            running=facts.kernels.running,
            next=facts.kernels.next,
        ),
    )


def no_library(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """libnvidia-ml.so.1, which everything on the host and in containers goes through."""
    module = loaded(facts)
    if not module:
        return NO_LIBRARY.not_applicable("no module of NVIDIA's is loaded")
    if isinstance(facts.nvml, Unknown):
        return NO_LIBRARY.cannot_tell(facts.nvml.reason)
    if isinstance(facts.nvml, Known):
        return NO_LIBRARY.ok()
    return NO_LIBRARY.problem(
        "NVIDIA's module is loaded, but its libraries are not there",
        [Evidence("libnvidia-ml.so.1", "ldconfig's cache", "not there", f"of version {module}")],
        cause="Packages without the compute part, an interrupted installation, or a cache that was not rebuilt.",
        guidance=f"Run «ldconfig»; if that does not help, install libnvidia-compute-{module[:3]}-server (Ubuntu) or"
        " libnvidia-ml1 (Debian) in exactly the module's version.",
    )


def conflict(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """More than one branch, more than one flavour, or packages beside NVIDIA's own installer."""
    named = [name for name, _ in facts.packages if name.startswith(DRIVER_PACKAGES)]
    branches = sorted({found[1] for name in named if (found := re.search(r"-(\d{3})(?=-|$)", name))})
    plain = [name for name in named if re.search(r"^libnvidia-compute-\d{3}$", name)]
    server = [name for name in named if re.search(r"^libnvidia-compute-\d{3}-server$", name)]
    evidence = []
    if len(branches) > 1:
        evidence.append(Evidence("branches", "dpkg", ", ".join(branches), "one"))
    if plain and server:
        evidence.append(Evidence("flavours", "dpkg", ", ".join((*plain, *server)), "one"))
    if facts.runfile and installed_branch(facts):
        evidence.append(Evidence("NVIDIA's own installer", facts.runfile, "was used", "not beside packages"))
    if not evidence:
        return CONFLICT.ok()
    return CONFLICT.problem(
        "Parts of several NVIDIA drivers are installed",
        evidence,
        cause="The distribution, NVIDIA's repository and NVIDIA's installer each bring the whole driver.",
        guidance="Choose one: «nvidia-uninstall» takes the installer's driver away, apt-get purge the packages of the"
        " other branch. Look at what apt would do with «apt-get -s» first.",
        risk="Between the purge and the next installation there is no GPU.",
    )


def nouveau(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """GPUs that the free driver holds."""
    if not facts.nouveau:
        return NOUVEAU.ok()
    place = "/sys/bus/pci/drivers/nouveau"
    return NOUVEAU.problem(
        f"The free driver nouveau holds {len(facts.nouveau)} GPUs",
        [Evidence("driver", place, ", ".join(facts.nouveau), "nvidia")],
        cause="nouveau is loaded from the initial ramdisk, before any list of exclusions on disk is read.",
        guidance="Exclude it, rebuild the initial ramdisks, restart the node, apply the accelerators page.",
        risk="A text console at the machine loses its high resolution until NVIDIA's driver is loaded.",
        remedy=(NouveauOff(id="accelerators.nouveau", kernel=facts.kernels.next),),
    )


def secure_boot(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """A firmware that refuses modules without a signature it trusts."""
    if isinstance(facts.secure_boot, Unknown):
        return SECURE_BOOT.cannot_tell(facts.secure_boot.reason)
    if facts.secure_boot != Known(True):
        return SECURE_BOOT.ok(Evidence("Secure Boot", "firmware", "off", "off, or signed modules"))
    if loaded(facts):
        return SECURE_BOOT.ok(Evidence("module", MODULE, "loaded", "loaded"))
    try:
        refused = [line for line in kernel_log(machine, "key") if _REFUSED.search(line)]
    except CannotTell as error:
        return SECURE_BOOT.cannot_tell(f"Secure Boot is on and the kernel's log cannot be read: {error}")
    if not refused:
        return SECURE_BOOT.ok(Evidence("Secure Boot", "firmware", "on, nothing refused", "signed modules"))
    return SECURE_BOOT.problem(
        "Secure Boot refuses NVIDIA's module",
        [Evidence("kernel log", "journalctl -k", refused[-1], "no refusal")],
        cause="The module was built on this node and signed with a key that the firmware does not trust.",
        guidance="Prefer signed modules (Ubuntu: linux-modules-nvidia-*). Else enrol the node's own key (mokutil"
        " --import), restart, and confirm it at the console. Else switch Secure Boot off in the firmware.",
        risk="The confirmation waits at the console: without a BMC the node does not come up.",
    )


def flavour(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Open modules since Turing, only they since Blackwell, none of them before Turing."""
    if not loaded(facts):
        return FLAVOUR.not_applicable("no module of NVIDIA's is loaded")
    generations = {one.name: one for card in cards if (one := data.generation(card.device)) is not None}
    wrong = [one.name for one in generations.values() if one.open == ("no" if facts.is_open else "only")]
    kind, other = ("open", "closed") if facts.is_open else ("closed", "open")
    if not wrong:
        return FLAVOUR.ok(Evidence("modules", "/proc/driver/nvidia/version", kind, kind))
    try:
        said = [line for line in kernel_log(machine, "NVRM") if _WRONG_KIND.search(line)]
    except CannotTell:
        said = []
    evidence = [Evidence("modules", "/proc/driver/nvidia/version", kind, other)]
    evidence += [Evidence("kernel log", "journalctl -k", line, "no complaint") for line in said[-1:]]
    branch = loaded(facts)[:3]
    return FLAVOUR.problem(
        f"{' and '.join(wrong)} GPUs need the {other} kernel modules, and the {kind} ones are loaded",
        evidence,
        cause="The package without «-open» was taken for new GPUs, or the one with it for old ones.",
        guidance=f'{AGAIN} With driver = "auto" and flavour = "auto" it changes the packages of branch {branch}.',
        risk="The driver is replaced; the node has to be restarted.",
    )


def shadowed(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Another program of that name that is found first."""
    places = [f"{directory}/nvidia-smi" for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin")]
    found = [path for path in places if machine.entry(path) is not None]
    if not found:
        return SHADOWED.ok()
    return SHADOWED.warning(
        f"{found[0]} is found before the driver's own nvidia-smi",
        [Evidence("nvidia-smi", found[0], "there", "/usr/bin/nvidia-smi only")],
        cause="A wrapper, or a copy from another driver or container.",
        guidance="Call /usr/bin/nvidia-smi by its whole path. This wizard asks the driver's library instead.",
    )


CHECKS = (
    nvidia_check(MISSING, missing, NOUVEAU.id),
    nvidia_check(NOUVEAU, nouveau),
    nvidia_check(SECURE_BOOT, secure_boot, needs_root=True),
    nvidia_check(MISMATCHED, mismatched, MISSING.id),
    nvidia_check(NO_LIBRARY, no_library, MISSING.id),
    nvidia_check(CONFLICT, conflict),
    nvidia_check(FLAVOUR, flavour, MISSING.id),
    nvidia_check(SHADOWED, shadowed),
)
