"""Asks a node about NVIDIA's driver and container toolkit: files first, the driver itself last and in a child."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.machine.nvml import Nvml, from_said
from bai_wizard.machine.pci import PciDevice
from bai_wizard.pages.accelerators.vendors.nvidia import data
from bai_wizard.pages.accelerators.vendors.nvidia.facts import NvidiaFacts, System
from bai_wizard.pages.accelerators.vendors.nvidia.kernels import kernels, may_sign, secure_boot
from bai_wizard.steps.docker_config import DAEMON_JSON

if TYPE_CHECKING:
    from bai_wizard.pages.accelerators.settings import NvidiaSettings

MODULE = "/sys/module/nvidia/version"
ABOUT = "/proc/driver/nvidia/version"
# What NVIDIA's own installer (.run) leaves behind.
RUNFILE = ("/usr/bin/nvidia-uninstall", "/var/log/nvidia-installer.log")
LISTS = "/var/lib/dpkg/info"
# Packages that carry the driver, its modules, its tools or the container toolkit.
OURS = re.compile(
    r"(lib)?nvidia-|linux-modules-nvidia-|linux-objects-nvidia-|libcuda1|firmware-nvidia|cuda-drivers"
    r"|libcudart|cuda-cudart-|cuda-toolkit"
)
BRIDGE = 0x0680


def probe(
    machine: Machine, settings: NvidiaSettings | None, context: Context, bus: tuple[PciDevice, ...]
) -> NvidiaFacts:
    """The facts about NVIDIA, given what is on the bus."""
    mine = [device for device in bus if device.vendor == 0x10DE]
    here = system(machine)
    known = runtimes(machine)
    return NvidiaFacts(
        system=here,
        kernels=kernels(machine),
        nvml=nvml(machine),
        loaded=_loaded(machine),
        is_open="Open Kernel Module" in _kernel_text(machine, ABOUT),
        packages=packages(machine),
        runfile=_runfile(machine),
        nouveau=tuple(device.address for device in mine if device.driver == "nouveau"),
        switches=sum(device.kind == BRIDGE for device in mine),
        secure_boot=secure_boot(machine),
        may_sign=may_sign(machine),
        cudart=_cudart(machine),
        runtimes=known,
        daemon_json=_kernel_text(machine, DAEMON_JSON),
        # An engine that was silent once is not waited for a second time.
        image="" if isinstance(known, Unknown) else _image(machine),
        key=key(machine, settings, context, here),
        container=machine.in_container(),
    )


def nvml(machine: Machine) -> Fact[Nvml]:
    """What NVIDIA's management library says; it costs at most its deadline."""
    try:
        library = machine.library("nvml")
        return Absent() if library is None else Known(from_said(library.said))
    except CannotTell as error:
        return Unknown(str(error))


def packages(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Every installed package of NVIDIA's, with its version."""
    try:
        listed = {name.removesuffix(".list").partition(":")[0] for name in machine.names(LISTS)}
        wanted = sorted(name for name in {*listed, *data.toolkit(), *data.legacy()} if OURS.match(name))
        found = [(name, machine.package(name)) for name in wanted]
    except CannotTell:
        return ()
    return tuple((name, package.version) for name, package in found if package is not None)


def runtimes(machine: Machine) -> Fact[tuple[str, ...]]:
    """The runtimes that the running engine knows."""
    try:
        info = machine.engine("/info")
    except CannotTell as error:
        return Unknown(str(error))
    return Known(tuple(sorted(info.get("Runtimes") or {}))) if isinstance(info, dict) else Absent()


def system(machine: Machine) -> Fact[System]:
    """Which distribution this is."""
    try:
        text = machine.text("/usr/lib/os-release") or machine.text("/etc/os-release") or ""
        name = machine.kernel_text("/proc/sys/kernel/arch") or machine.look(("uname", "-m")).out.strip()
    except CannotTell as error:
        return Unknown(str(error))
    fields = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines())}
    families = [fields.get("ID", ""), *fields.get("ID_LIKE", "").split()]
    os = next((family for family in families if family in ("ubuntu", "debian")), "")
    if not os:
        return Unknown(f"{fields.get('PRETTY_NAME', 'this system')} is neither Ubuntu nor Debian")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(name, name)
    return Known(System(os, fields.get("VERSION_ID", ""), fields.get("VERSION_CODENAME", ""), architecture))


def _loaded(machine: Machine) -> Fact[str]:
    try:
        text = machine.kernel_text(MODULE)
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if not text else Known(text)


def _runfile(machine: Machine) -> str:
    try:
        return next((path for path in RUNFILE if machine.entry(path) is not None), "")
    except CannotTell:
        return ""


def _cudart(machine: Machine) -> Fact[str]:
    try:
        library = machine.library("cudart")
    except CannotTell as error:
        return Unknown(str(error))
    return Absent() if library is None else Known(f"{library.said} ({library.version})")


def _image(machine: Machine) -> str:
    """The smallest image at hand in which the driver's nvidia-smi should run."""
    try:
        images = machine.engine("/images/json")
    except CannotTell:
        return ""
    sizes = {
        str(tag): int(image.get("Size") or 0)
        for image in (images if isinstance(images, list) else [])
        for tag in image.get("RepoTags") or ()
    }
    return min((tag for tag in sizes if data.suits_proof(tag)), key=lambda tag: (sizes[tag], tag), default="")


def key(machine: Machine, settings: NvidiaSettings | None, context: Context, here: Fact[System]) -> Fact[str]:
    """The key for NVIDIA's repositories, where it does not come with the wizard. A bundle needs none on the node."""
    if settings is None or context.bundle:
        return Absent()
    if settings.key_file:
        try:
            text = machine.text(settings.key_file)
        except CannotTell as error:
            return Unknown(str(error))
        return Known(text) if text is not None else Unknown(f"{settings.key_file} is not there")
    if settings.source != "nvidia" or context.demo or not isinstance(here, Known):
        return Absent()
    found = data.cuda_repository(here.value.os, here.value.version, here.value.architecture, settings.apt_url)
    if found is None:
        return Absent()
    from bai_wizard.pages.accelerators.vendors.nvidia.fetch_key import fetch_key

    return fetch_key(found.key_url, context)


def _kernel_text(machine: Machine, path: str) -> str:
    try:
        return machine.kernel_text(path) or ""
    except CannotTell:
        return ""
