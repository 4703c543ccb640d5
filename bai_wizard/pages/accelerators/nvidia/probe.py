"""Probe NVIDIA's driver and container toolkit: files first, the driver itself last and in a child process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.page import Absent, Context, Fact, Known, Unknown, read_fact, value_or
from bai_wizard.core.parse import container_of, whole
from bai_wizard.node.hardware import DEVICES, Nvml, PciDevice, nvml_from_json
from bai_wizard.pages.accelerators import nvidia
from bai_wizard.pages.accelerators.facts import FABRIC_PACKAGES, PASSED_THROUGH, GpuUser, Kernels, NvidiaFacts
from bai_wizard.pages.accelerators.nvidia.driver_steps import MODULE_VERSION
from bai_wizard.pages.accelerators.settings import NvidiaSettings
from bai_wizard.pages.node_state import System, installed_kernels, system_of
from bai_wizard.steps.docker import DAEMON_JSON

RELEASE = "/proc/sys/kernel/osrelease"
EFI = "/sys/firmware/efi"
SECURE_BOOT = f"{EFI}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# The paths of the key with which DKMS signs: Ubuntu's, Debian's.
OWN_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
# The usual flavors of Ubuntu's kernels, then of Debian's.
FLAVOURS = (
    "generic", "generic-hwe-24.04", "generic-hwe-26.04", "generic-64k", "generic-64k-hwe-24.04", "lowlatency",
    "lowlatency-hwe-24.04", "aws", "azure", "gcp", "oracle", "nvidia", "nvidia-64k",
    "amd64", "cloud-amd64", "arm64", "cloud-arm64",
)  # fmt: skip


# A metapackage of any other flavor, as dpkg lists it: its name has no release number. Debug symbols are left out.
_META = re.compile(r"linux-image-((?!\d|unsigned-|extra-|uc-)[a-z0-9.-]+?(?<!-dbg)(?<!-dbgsym))\.list")


def kernels(machine: Machine) -> Kernels:
    """Return the running kernel and the one that boots next; empty if unknown."""
    running = kernel_text(machine, RELEASE)
    try:
        installed = installed_kernels(machine)
        listed = {match[1] for name in machine.names(LISTS) if (match := _META.fullmatch(name))}
        names = (*FLAVOURS, *sorted(listed - set(FLAVOURS)))
        metas = tuple(name for name in names if machine.package(f"linux-image-{name}") is not None)
    except StateUnknown:
        installed, metas = [], ()
    return Kernels(running, installed[-1] if installed else running, metas)


def secure_boot(machine: Machine) -> bool | None:
    """Whether the firmware rejects modules without a trusted signature; None without EFI."""
    if not machine.names(EFI):
        return None
    # Four bytes of attributes, then one byte that is 1 if it is on.
    return (machine.kernel_text(SECURE_BOOT) or "").endswith("\x01")


def may_sign(machine: Machine) -> bool | None:
    """Whether the firmware trusts the key with which DKMS signs; None without such a key."""
    key = next((path for path in OWN_KEYS if machine.entry(path) is not None), "")
    if not key:
        return None
    answer = machine.query(("mokutil", "--test-key", key))
    # Its exit code is the opposite of what one would expect, so the output is used.
    return "already enrolled" in answer.out + answer.err


def kernel_text(machine: Machine, path: str) -> str:
    """Return the text of a file of the kernel; empty if it is missing or unknown."""
    return value_or(read_fact(lambda: machine.kernel_text(path)), "")


# Timeout in seconds for the whole request, and the maximum size of a response that can be a key.
KEY_DEADLINE = 15.0
LARGEST_KEY = 1 << 18
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"


def fetch_key(url: str, context: Context) -> Fact[str]:
    """Return the key's text, or why it could not be fetched."""
    from bai_wizard.node.deadline import with_deadline

    try:
        return Known(with_deadline(KEY_DEADLINE, url, lambda: _fetch(url, context)))
    except StateUnknown as error:
        return Unknown(f"{error}. Download it elsewhere and set accelerators.nvidia.key_file to its path")


def _fetch(url: str, context: Context) -> str:
    import urllib3

    from bai_wizard.node.http import Pace, Refused, paced, request

    proxy = context.proxy_https if url.startswith("https:") else context.proxy_http
    trusted = TRUSTED if os.path.exists(TRUSTED) else None
    manager = urllib3.ProxyManager(proxy, ca_certs=trusted) if proxy else urllib3.PoolManager(ca_certs=trusted)
    pace = Pace(KEY_DEADLINE)
    paced(manager, pace)
    pace.begin()
    try:
        plain = {"Accept-Encoding": "identity"}
        answer = request(manager, "GET", url, plain, timeout=10.0, retries=1)
        pace.allow(2 * LARGEST_KEY)
        body = answer.read(LARGEST_KEY, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise StateUnknown(f"{url} cannot be reached: {error}") from error
    except Refused as refusal:
        raise StateUnknown(f"{url}: {refusal}") from refusal
    finally:
        manager.clear()
    if answer.status != 200:
        raise StateUnknown(f"{url}: HTTP status {answer.status}")
    return str(body.decode("ascii", "replace"))


ABOUT = "/proc/driver/nvidia/version"
# Files that NVIDIA's own installer (.run) leaves.
RUNFILE = ("/usr/bin/nvidia-uninstall", "/var/log/nvidia-installer.log")
LISTS = "/var/lib/dpkg/info"
# Packages of the driver, its modules, its tools and the container toolkit.
OURS = re.compile(
    r"(lib)?nvidia-|nvlsm|linux-modules-nvidia-|linux-objects-nvidia-|libcuda1|firmware-nvidia|cuda-drivers"
    r"|libcudart|cuda-cudart-|cuda-toolkit"
)
DIRECTORIES = ("/.", "/usr", "/usr/share", "/usr/share/doc")
BRIDGE = 0x0680


def probe(
    machine: Machine, settings: NvidiaSettings | None, context: Context, bus: tuple[PciDevice, ...]
) -> NvidiaFacts:
    """Return the facts about NVIDIA, given the devices on the bus."""
    mine = [device for device in bus if device.vendor == 0x10DE]
    here = system_of(machine)
    known = runtimes(machine)
    known_packages = packages(machine)
    here_kernels, nvlink5 = kernels(machine), _has_nvlink5(machine, bus)
    driver = nvml(machine)
    return NvidiaFacts(
        system=here,
        kernels=here_kernels,
        nvml=driver,
        loaded=read_fact(lambda: machine.kernel_text(MODULE_VERSION) or None),
        is_open="Open Kernel Module" in kernel_text(machine, ABOUT),
        packages=known_packages,
        empty=_without_content(machine, known_packages),
        runfile=value_or(
            read_fact(lambda: next((path for path in RUNFILE if machine.entry(path) is not None), "")), ""
        ),
        nouveau=tuple(device.address for device in mine if device.driver == "nouveau"),
        switches=sum(device.kind == BRIDGE and device.driver not in PASSED_THROUGH for device in mine),
        nvlink5=nvlink5,
        without_bridge=_without_bridge(machine, here_kernels) if nvlink5 else (),
        secure_boot=read_fact(lambda: secure_boot(machine)),
        may_sign=read_fact(lambda: may_sign(machine)),
        cudart=_cudart(machine),
        runtimes=known,
        daemon_json=kernel_text(machine, DAEMON_JSON),
        # An engine that has not responded once is not queried again.
        image="" if isinstance(known, Unknown) else _image(machine),
        key=key(machine, settings, context, here),
        container=machine.in_container(),
        users=tuple(users_of(machine, driver.value)) if isinstance(driver, Known) else (),
    )


def nvml(machine: Machine) -> Fact[Nvml]:
    """Query NVIDIA's management library; takes its timeout at most."""
    library = read_fact(lambda: machine.library("nvml"))
    return Known(nvml_from_json(library.value.said)) if isinstance(library, Known) else library


def users_of(machine: Machine, answer: Nvml) -> Iterator[GpuUser]:
    """The processes on the GPUs, by program and container."""
    running = [(gpu, process) for gpu in answer.gpus for process in gpu.processes]
    ids = {process.pid: container_of(kernel_text(machine, f"/proc/{process.pid}/cgroup")) for _, process in running}
    names = _container_names(machine) if any(ids.values()) else {}
    for gpu, process in running:
        id = ids[process.pid]
        program = kernel_text(machine, f"/proc/{process.pid}/comm").strip()
        yield GpuUser(gpu.address, process.pid, program, names.get(id, id[:12]), process.memory)


def _container_names(machine: Machine) -> dict[str, str]:
    """The names of the running containers by their IDs; empty if the engine does not answer."""
    found = value_or(read_fact(lambda: machine.engine("/containers/json")), None)
    return {
        str(each["Id"]): str((each.get("Names") or [""])[0]).removeprefix("/")
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and each.get("Id")
    }


def packages(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Return every installed package of NVIDIA with its version."""
    try:
        listed = {name.removesuffix(".list").partition(":")[0] for name in machine.names(LISTS)}
        wanted = sorted(name for name in {*listed, *nvidia.data().toolkit, *nvidia.data().legacy} if OURS.match(name))
        result = [(name, machine.package(name)) for name in wanted]
    except StateUnknown:
        return ()
    return tuple((name, package.version) for name, package in result if package is not None)


def _without_content(machine: Machine, packages: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the packages that contain documentation only, as transitional ones do."""
    result = []
    for name in (name for name, _ in packages if name.startswith(FABRIC_PACKAGES)):
        lines = kernel_text(machine, f"{LISTS}/{name}.list").split()
        if lines and all(line in DIRECTORIES or line.startswith(f"/usr/share/doc/{name}") for line in lines):
            result.append(name)
    return tuple(result)


BRIDGES = "/sys/class/infiniband"
MELLANOX = 0x15B3


def _has_nvlink5(machine: Machine, bus: tuple[PciDevice, ...]) -> bool:
    """Whether NVSwitches are behind ConnectX bridges: by the GPUs' ids, or the mark in the bridges' product data.

    The data is found below the bridge's InfiniBand device; without mlx5_ib, on the bus. Reading it takes a while.
    """
    ours = [device for device in bus if device.driver not in PASSED_THROUGH]
    if nvidia.has_nvlink5(device.device for device in ours if device.vendor == 0x10DE):
        return True
    bridges = value_or(read_fact(lambda: machine.names(BRIDGES)), ())
    paths = [f"{BRIDGES}/{name}/device/vpd" for name in bridges]
    if not paths:
        paths = [f"{DEVICES}/{device.address}/vpd" for device in ours if device.vendor == MELLANOX]
    return any(nvidia.data().nvlink5_mark in kernel_text(machine, path) for path in paths)


def _without_bridge(machine: Machine, here: Kernels) -> tuple[str, ...]:
    """Return the kernels without the bridges' modules; one without a list of its modules does not count."""
    return tuple(kernel for kernel in here.all if _lacks(machine, kernel, nvidia.data().nvlink5_modules))


def _lacks(machine: Machine, kernel: str, modules: tuple[str, ...]) -> bool:
    try:
        listed = machine.text(f"/lib/modules/{kernel}/modules.dep") or ""
        built_in = machine.text(f"/lib/modules/{kernel}/modules.builtin") or ""
    except StateUnknown:
        return False
    names = {name.replace("-", "_") for name in re.findall(r"(?:^|/)([^/:\s]+)\.ko", f"{listed}\n{built_in}", re.M)}
    return bool(listed) and not names.issuperset(modules)


def runtimes(machine: Machine) -> Fact[tuple[str, ...]]:
    """Return the runtimes of the running engine."""
    info = read_fact(lambda: machine.engine("/info"))
    if isinstance(info, Known):
        return Known(tuple(sorted(info.value.get("Runtimes") or {}))) if isinstance(info.value, dict) else Absent()
    return info


def _cudart(machine: Machine) -> Fact[str]:
    library = read_fact(lambda: machine.library("cudart"))
    return Known(f"{library.value.said} ({library.value.version})") if isinstance(library, Known) else library


def _image(machine: Machine) -> str:
    """The smallest local image in which the driver's nvidia-smi can be expected to run."""
    try:
        images = machine.engine("/images/json")
    except StateUnknown:
        return ""
    sizes = {
        str(tag): whole(image.get("Size") or 0)
        for image in (images if isinstance(images, list) else [])
        for tag in image.get("RepoTags") or ()
    }
    return min((tag for tag in sizes if nvidia.suits_proof(tag)), key=lambda tag: (sizes[tag], tag), default="")


def key(machine: Machine, settings: NvidiaSettings | None, context: Context, here: Fact[System]) -> Fact[str]:
    """Return the key for NVIDIA's repositories unless shipped with the wizard. Not needed with a bundle."""
    if settings is None or context.bundle:
        return Absent()
    if settings.key_file:
        text = read_fact(lambda: machine.text(settings.key_file))
        return Unknown(f"{settings.key_file} does not exist") if isinstance(text, Absent) else text
    if settings.source != "nvidia" or context.demo or not isinstance(here, Known):
        return Absent()
    result = nvidia.cuda_repository(here.value.os, here.value.version, here.value.architecture, settings.apt_url)
    if result is None:
        return Absent()
    return fetch_key(result.key_url, context)
