"""The node's hardware: processor, memory, file systems and GPUs."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import ip_address
from typing import Any, TypeVar

from msgspec import Struct

from bai_wizard.core.codec import KEPT
from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Disk, HardwarePart, Interface, Machine, Memory, Processor
from bai_wizard.core.parse import whole
from bai_wizard.core.state import Library
from bai_wizard.node.deadline import with_deadline
from bai_wizard.node.run_as import run_as, use_child_environment

T = TypeVar("T")
# The return code in nvml.h of a driver whose library and kernel module differ.
MISMATCH = 18
# NVML's states of a GPU's fabric (nvmlGpuFabricState_t).
FABRIC = {1: "not started", 2: "in progress", 3: "completed"}


class GpuProcess(Struct, frozen=True):
    """A process that uses a GPU; `memory` in bytes, 0 if the driver does not report it."""

    pid: int
    memory: int = 0


class Gpu(Struct, frozen=True):
    """A GPU as the driver sees it; None where the model lacks a feature or the driver does not report it.

    `address` is the PCI address in the kernel's format, `memory` and `used` in bytes. `mig` is (current, after the
    next reset), `slices` lists MIG devices. `uncorrected` counts memory errors since the driver was loaded. `remap`
    is (a row is pending until a reset, remapping failed). `fabric` is empty without an NVLink fabric. `lost` explains
    why the GPU does not respond.
    """

    address: str = ""
    uuid: str = ""
    name: str = ""
    memory: int = 0
    mig: tuple[bool, bool] | None = None
    slices: tuple[str, ...] = ()
    ecc: bool | None = None
    uncorrected: int | None = None
    remap: tuple[bool, bool] | None = None
    persistence: bool | None = None
    fabric: str = ""
    lost: str = ""
    used: int = 0
    processes: tuple[GpuProcess, ...] = ()


class Nvml(Struct, frozen=True):
    """The driver as its library describes it. `error` is NVML's return code if it fails to start, otherwise 0.

    `cuda` is the latest CUDA version that this driver supports, as (major, minor).
    """

    error: int = 0
    message: str = ""
    driver: str = ""
    cuda: tuple[int, int] = (0, 0)
    gpus: tuple[Gpu, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether the driver answers; individual GPUs may still be lost."""
        return self.error == 0


def query_nvml() -> Nvml | None:
    """Query everything at once; None without the library. Runs in the calling process."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        code = int(error.value)  # pyright: ignore[reportAttributeAccessIssue]: set by NVMLError.__new__
        return None if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND else Nvml(error=code, message=str(error))
    number = pynvml.nvmlSystemGetCudaDriverVersion()
    return Nvml(
        driver=str(pynvml.nvmlSystemGetDriverVersion()),
        cuda=(number // 1000, number % 1000 // 10),
        gpus=tuple(_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())),
    )


def _gpu(pynvml: Any, index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        address = kernel_address(str(pynvml.nvmlDeviceGetPciInfo(handle).busId))
    except pynvml.NVMLError as error:
        return Gpu(lost=f"GPU {index}: {error}")

    def tell(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except pynvml.NVMLError:
            return None  # this model or this driver does not support it

    sizes = tell(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    memory = int(sizes.total) if sizes is not None else None
    mig = tell(lambda: tuple(bool(mode) for mode in pynvml.nvmlDeviceGetMigMode(handle)))
    rows = tell(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    ecc = tell(lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]))
    kinds = (handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    return Gpu(
        address=address,
        uuid=tell(lambda: str(pynvml.nvmlDeviceGetUUID(handle))) or "",
        name=tell(lambda: str(pynvml.nvmlDeviceGetName(handle))) or "",
        memory=memory or 0,
        mig=(mig[0], mig[1]) if mig is not None else None,
        slices=_slices(pynvml, handle) if mig is not None and mig[0] else (),
        ecc=ecc,
        uncorrected=tell(lambda: int(pynvml.nvmlDeviceGetTotalEccErrors(*kinds))) if ecc else None,
        remap=(bool(rows[2]), bool(rows[3])) if rows is not None else None,
        persistence=tell(lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle))),
        fabric=tell(lambda: _fabric(pynvml, handle)) or "",
        lost="" if memory is not None else f"GPU {index} does not report its memory",
        used=int(sizes.used) if sizes is not None else 0,
        # Without a version in its name, pynvml raises an error of another kind if the driver is too old for it.
        processes=_processes(tell(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)) or ()),
    )


def _processes(running: Iterable[Any]) -> tuple[GpuProcess, ...]:
    return tuple(GpuProcess(int(process.pid), int(process.usedGpuMemory or 0)) for process in running)


def _slices(pynvml: Any, handle: Any) -> tuple[str, ...]:
    """Return the UUIDs of a GPU's MIG devices."""
    result = []
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            result.append(str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))))
        except pynvml.NVMLError:
            continue  # indices of MIG devices that do not exist
    return tuple(result)


def _fabric(pynvml: Any, handle: Any) -> str:
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, pynvml.byref(info))
    word = FABRIC.get(int(info.state), "")
    return f"{word}, but failed ({info.status})" if word == "completed" and info.status else word


def kernel_address(text: str) -> str:
    """Convert NVML's `00000000:17:00.0` to the format of /sys, `0000:17:00.0`."""
    domain, _, rest = text.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}" if rest else text


def nvml_to_json(answer: Nvml) -> str:
    """Return the answer as the text of a `Library` state."""
    return json.dumps(KEPT.encode(answer))


def nvml_from_json(text: str) -> Nvml:
    """Read the output of `nvml_to_json`."""
    result: Nvml = KEPT.decode(Nvml, json.loads(text))
    return result


# Seconds; without persistence mode a healthy driver first wakes each GPU, which takes one or two seconds each.
NVML_DEADLINE = 20.0
CUDART_DEADLINE = 5.0
# Major versions in the order in which Backend.AI's agent tries them (accelerator/cuda_open/nvidia.py).
CUDART_MAJORS = (13, 12, 11, 10, 9, 8, 7, 6, 5)


def library_state(root: str, name: str) -> Library | None:
    """Return what a library reports; None if it is missing. Raises StateUnknown if it does not answer in time."""
    if root != "/":
        raise StateUnknown(f"a library of the running node cannot describe {root}")
    queries: dict[str, tuple[str, Callable[[], tuple[str, str] | None], float]] = {
        "nvml": ("NVIDIA's driver", _query_driver, NVML_DEADLINE),
        "cudart": ("CUDA's runtime library", load_cudart, CUDART_DEADLINE),
    }
    if name not in queries:
        raise StateUnknown(f"library {name}: queries are not supported")
    title, query, deadline = queries[name]
    try:
        result = run_as(None, query, answer=tuple[str, str] | None, deadline=deadline)
    except StateUnknown as error:
        raise StateUnknown(f"{title}: {error}") from error
    return None if result is None else Library(result[1], result[0])


def _query_driver() -> tuple[str, str] | None:
    answer = query_nvml()
    return None if answer is None else (nvml_to_json(answer), answer.driver)


def load_cudart() -> tuple[str, str] | None:
    """Return the runtime library that the agent would load, and its version; None if it would find none.

    Runs in the calling process. The library is found by name like in any program: through ldconfig's cache.
    """
    for name in (*(f"libcudart.so.{major}" for major in CUDART_MAJORS), "libcudart.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        number = ctypes.c_int()
        if library.cudaRuntimeGetVersion(ctypes.byref(number)) != 0:
            return name, ""
        return name, f"{number.value // 1000}.{number.value % 1000 // 10}"
    return None


DEVICES = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"


class PciDevice(Struct, frozen=True):
    """One function on the bus, with the numeric IDs of PCI.

    `kind` is class and subclass (0x0302: a 3D controller). `driver` is the kernel driver bound to it, or empty.
    """

    address: str
    vendor: int
    device: int
    kind: int
    driver: str = ""

    @property
    def id(self) -> str:
        """Return `10de:2330`, as shown by lspci -n."""
        return f"{self.vendor:04x}:{self.device:04x}"


def scan_pci(machine: Machine) -> tuple[PciDevice, ...]:
    """Return all devices, by address. Raises StateUnknown if the list or an entry cannot be read."""
    result = []
    for address in machine.names(DEVICES):
        text = machine.kernel_text(f"{DEVICES}/{address}/uevent")
        if text is None:
            text = _without_uevent(machine, address)
        if text:
            result.append(parse_uevent(address, text))
    return tuple(result)


def _without_uevent(machine: Machine, address: str) -> str:
    """Return the same from the device's other files, for copies of /sys that only have those.

    Empty without a device.
    """
    names = ("vendor", "device", "class")
    vendor, device, kind = (machine.kernel_text(f"{DEVICES}/{address}/{name}") or "" for name in names)
    if not vendor:
        return ""
    held = [driver for driver in machine.names(DRIVERS) if address in machine.names(f"{DRIVERS}/{driver}")]
    lines = [f"DRIVER={driver}" for driver in held[:1]]
    return "\n".join([*lines, f"PCI_CLASS={kind}", f"PCI_ID={vendor.removeprefix('0x')}:{device.removeprefix('0x')}"])


def parse_uevent(address: str, text: str) -> PciDevice:
    """Parse a device's `uevent`: DRIVER, PCI_CLASS and PCI_ID in hexadecimal. Raises StateUnknown otherwise."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    vendor, _, device = fields.get("PCI_ID", "").partition(":")
    try:
        # The class register has three bytes; the last one is the programming interface.
        kind = whole(fields.get("PCI_CLASS", ""), 16) >> 8
        return PciDevice(address, whole(vendor, 16), whole(device, 16), kind, fields.get("DRIVER", ""))
    except ValueError as error:
        raise StateUnknown(f"{DEVICES}/{address}/uevent has no PCI_CLASS and PCI_ID") from error


# py-cpuinfo starts programs, and a disk may not respond. Seconds.
CPU_DEADLINE = 10.0
DISK_DEADLINE = 5.0


@cache
def processor() -> Processor:
    """Return the processor. Raises StateUnknown if py-cpuinfo does not answer in time."""
    import psutil

    model, flags = run_as(None, _model_and_flags, answer=tuple[str, tuple[str, ...]], deadline=CPU_DEADLINE)
    threads = psutil.cpu_count() or 0
    return Processor(model, flags, psutil.cpu_count(logical=False) or threads, threads)


def _model_and_flags() -> tuple[str, tuple[str, ...]]:
    """Runs in a child: the import already starts `uname`."""
    use_child_environment({"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"})
    info = _cpu_info()
    return info.get("brand_raw") or "", tuple(info.get("flags") or ())


def _cpu_info() -> dict[str, Any]:
    """Return py-cpuinfo's answer by its own readers; the public call also measures the clock for a second."""
    from cpuinfo import cpuinfo

    try:
        info: dict[str, Any] = cpuinfo._get_cpu_info_from_proc_cpuinfo()
        if (info.get("brand_raw") or "0").isdecimal():  # on ARM the kernel shows only numbers
            info["brand_raw"] = cpuinfo._get_cpu_info_from_lscpu().get("brand_raw")
    except AttributeError:
        info = cpuinfo.get_cpu_info()
    return info


def memory() -> Memory:
    """Return the main memory."""
    import psutil

    result = psutil.virtual_memory()
    return Memory(result.total, result.available)


def disks() -> tuple[Disk, ...]:
    """Return the file systems on local disks, and the root of a container. Raises StateUnknown if one hangs."""
    return with_deadline(DISK_DEADLINE, "the local file systems", _disks)


def _disks() -> tuple[Disk, ...]:
    import psutil

    overlay = [
        each for each in psutil.disk_partitions(all=True) if (each.mountpoint, each.fstype) == ("/", "overlay")
    ]
    result = []
    for partition in dict.fromkeys([*overlay, *psutil.disk_partitions()]):
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:
            continue  # an unreadable mount is left to the storage checks
        result.append(
            Disk(partition.device, partition.fstype, partition.mountpoint, usage.total, usage.used, usage.free)
        )
    return tuple(result)


def interfaces() -> tuple[Interface, ...]:
    """Return the network interfaces in the kernel's order."""
    import socket

    import psutil

    found: dict[str, list[str]] = {name: [] for _, name in socket.if_nameindex()}
    for label, addresses in psutil.net_if_addrs().items():
        name = label.partition(":")[0]  # a label of an address, such as eth0:1
        for address in addresses:
            if name in found and address.family in (socket.AF_INET, socket.AF_INET6):
                found[name].append(_with_prefix(address.address.partition("%")[0], address.netmask))
    return tuple(Interface(name, _link_state(name), tuple(addresses)) for name, addresses in found.items())


def _with_prefix(address: str, netmask: str | None) -> str:
    parsed = ip_address(address)
    length = int(ip_address(netmask)).bit_count() if netmask else parsed.max_prefixlen
    return f"{parsed}/{length}"


def _link_state(name: str) -> str:
    try:
        with open(f"/sys/class/net/{name}/operstate", encoding="ascii") as file:
            return file.read().strip().upper()
    except OSError:
        return "UNKNOWN"


def uptime() -> float:
    """Return the seconds since the node was booted."""
    import psutil

    return time.time() - psutil.boot_time()


PARTS: dict[HardwarePart, Callable[[], Any]] = {
    "processor": processor,
    "memory": memory,
    "disks": disks,
    "interfaces": interfaces,
    "uptime": uptime,
}
