"""What the doctor looks at where NVIDIA's module is built on the node."""

from __future__ import annotations

import re

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.finding import Evidence, Finding
from bai_wizard.core.machine import Machine
from bai_wizard.pages.accelerators.check.driver import has_module
from bai_wizard.pages.accelerators.check.look import PAGE, nvidia_check
from bai_wizard.pages.accelerators.facts import Card
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts
from bai_wizard.pages.subject import Subject
from bai_wizard.steps.apt import Packages

HEADERS = Subject("nvidia-headers-missing", PAGE, "The kernel's headers are there to build NVIDIA's module")
COMPILER = Subject("nvidia-dkms-compiler", PAGE, "NVIDIA's module can be built with the compiler that is here")
TOO_NEW = Subject("nvidia-dkms-too-new-kernel", PAGE, "The driver's branch knows the kernel")
DKMS = ("nvidia-dkms-", "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-kernel-open-dkms")
TREE = "/var/lib/dkms/nvidia"
_COMPILER = re.compile(r"unrecognized command-line option|compiler differs from the one used to build the kernel")
_SOURCE = re.compile(r"implicit declaration|conftest|error: .*(undeclared|has no member|too (few|many) arguments)")


def headers(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """Headers of the kernel that runs and of the one that boots next."""
    if not _builds(facts):
        return HEADERS.not_applicable("no module is built on this node")
    lacking = [kernel for kernel in facts.kernels.all if machine.entry(f"/lib/modules/{kernel}/build") is None]
    lacking = [kernel for kernel in lacking if not has_module(machine, kernel)]
    if not lacking:
        return HEADERS.ok()
    evidence = [Evidence("headers", f"/lib/modules/{kernel}/build", "not there", "there") for kernel in lacking]
    names = tuple(f"linux-headers-{kernel}" for kernel in lacking)
    return HEADERS.problem(
        f"The headers of the kernel {lacking[0]} are missing, so NVIDIA's module cannot be built for it",
        evidence,
        cause="Only the kernel's image was installed, or the kernel is no longer in the archive.",
        guidance="Install the headers; dkms then builds by itself. If the archive no longer has them, restart into"
        " the newest kernel first.",
        remedy=(Packages(id="accelerators.headers", names=names, why="headers for NVIDIA's module"),),
    )


def compiler(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """A build that failed because the kernel was built with a newer compiler."""
    failed = _failed(machine, facts)
    lines = [line for line in failed if _COMPILER.search(line)]
    if not lines:
        return COMPILER.ok() if _builds(facts) else COMPILER.not_applicable("no module is built on this node")
    config = machine.text(f"/boot/config-{facts.kernels.next}") or ""
    found = re.search(r'CONFIG_CC_VERSION_TEXT="[^"]*?(\d+)\.\d+', config)
    wanted = f"gcc-{found[1]}" if found else ""
    remedy = (
        (Packages(id="accelerators.compiler", names=(wanted,), why="the kernel's own compiler"),) if wanted else ()
    )
    return COMPILER.problem(
        "NVIDIA's module was not built: the compiler is older than the kernel's",
        [Evidence("build", f"{TREE}/…/make.log", lines[-1].strip(), wanted or "the kernel's compiler")],
        cause="Kernels of hardware enablement are built with a newer gcc than the distribution's default.",
        guidance=f"Install {wanted or 'the compiler named in /boot/config-*'} and run «dkms autoinstall»; or take"
        " prebuilt modules.",
        remedy=remedy,
    )


def too_new(machine: Machine, context: Context, facts: NvidiaFacts, cards: tuple[Card, ...]) -> Finding:
    """A build that failed because the driver does not know the kernel's interfaces."""
    failed = _failed(machine, facts)
    lines = [line for line in failed if _SOURCE.search(line)]
    if not lines or any(_COMPILER.search(line) for line in failed):
        return TOO_NEW.ok() if _builds(facts) else TOO_NEW.not_applicable("no module is built on this node")
    return TOO_NEW.problem(
        f"NVIDIA's module was not built: its branch does not know the kernel {facts.kernels.next}",
        [Evidence("build", f"{TREE}/…/make.log", lines[-1].strip(), "no error")],
        cause="A newer kernel came with an upgrade; the driver's branch is older than it.",
        guidance="Take a newer branch (accelerators.nvidia.driver), or start the older kernel and hold it.",
        risk="Another branch changes which CUDA can run; the node has to be restarted.",
    )


def _builds(facts: NvidiaFacts) -> bool:
    return any(name.startswith(DKMS) for name, _ in facts.packages)


def _failed(machine: Machine, facts: NvidiaFacts) -> tuple[str, ...]:
    """The last lines of the newest build's log, only where the next kernel really has no module."""
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
            except CannotTell:
                continue
    return tuple(lines)


CHECKS = (nvidia_check(HEADERS, headers), nvidia_check(COMPILER, compiler), nvidia_check(TOO_NEW, too_new))
