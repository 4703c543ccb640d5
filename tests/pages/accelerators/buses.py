"""Simulated nodes with accelerators: PCI buses from tests/fixtures/sys, in memory or as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bai_wizard.core.operation import Offer, Operation
from bai_wizard.core.state import Key, Library, Package, State
from bai_wizard.node.hardware import DEVICES, Gpu, Nvml, nvml_to_json
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages.accelerators.nvidia.driver_steps import MODULE_VERSION
from bai_wizard.resources.commands import RunCommand
from tests.pages.ubuntu import bai, file, ubuntu

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sys"
KERNEL = "6.8.0-60-generic"
NEWER = "6.8.0-62-generic"
DRIVER = "580.95.05"
VERSION = f"{DRIVER}-0ubuntu0.24.04.1"
NVIDIA_PACKAGES = (
    "libnvidia-compute-580-server",
    "nvidia-headless-no-dkms-580-server-open",
    "nvidia-utils-580-server",
    f"linux-modules-nvidia-580-server-open-{KERNEL}",
    "linux-modules-nvidia-580-server-open-generic",
)
TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


def bus(name: str) -> dict[str, str]:
    """The uevent files of a node's PCI devices."""
    result = {}
    for line in (FIXTURES / f"{name}.txt").read_text().splitlines():
        address, id, kind, driver = line.split()
        lines = [f"PCI_CLASS={int(kind, 16):X}00", f"PCI_ID={id.upper()}", f"PCI_SLOT_NAME={address}"]
        result[f"{DEVICES}/{address}/uevent"] = "\n".join([*([f"DRIVER={driver}"] if driver != "-" else []), *lines])
    return result


def tree(name: str, root: Path) -> Path:
    """The same as files below `root`, the bus's directory full of links as the kernel makes it."""
    devices = root / DEVICES.lstrip("/")
    devices.mkdir(parents=True)
    for path, text in bus(name).items():
        address = path.split("/")[-2]
        real = root / "sys/devices/pci0000:00" / address
        real.mkdir(parents=True)
        (real / "uevent").write_text(text + "\n")
        (devices / address).symlink_to(f"../../../devices/pci0000:00/{address}")
    return root


def gpus(name: str, **about: object) -> tuple[Gpu, ...]:
    """What NVML says of a fixture's GPUs, all alike and well."""
    values: dict[str, object] = {
        "name": "NVIDIA H100 80GB HBM3", "memory": 85520809984, "mig": (False, False), "ecc": True, "uncorrected": 0,
        "remap": (False, False), "persistence": True, **about,
    }  # fmt: skip
    lines = [line.split() for line in (FIXTURES / f"{name}.txt").read_text().splitlines()]
    result = [line[0] for line in lines if line[1].startswith("10de:") and line[2] in ("0300", "0302")]
    return tuple(Gpu(address=one, uuid=f"GPU-{index}", **values) for index, one in enumerate(result))  # type: ignore[arg-type]


def nvml(answer: Nvml) -> dict[Key, State | None]:
    """NVML's library with an answer."""
    return {Key("library", "nvml"): Library(answer.driver, nvml_to_json(answer))}


def healthy(name: str, version: str = DRIVER, **about: object) -> dict[Key, State | None]:
    """A loaded driver with its packages, as far as a node's states tell it."""
    return {
        **nvml(Nvml(driver=version, cuda=(13, 0), gpus=gpus(name, **about))),
        **installed({package: VERSION.replace(DRIVER, version) for package in NVIDIA_PACKAGES}),
        Key("file", MODULE_VERSION): file(f"{version}\n"),
    }


def installed(packages: Mapping[str, str]) -> dict[Key, State | None]:
    """Packages in dpkg's database, with the lists of their files."""
    result: dict[Key, State | None] = {}
    for name, version in packages.items():
        result[Key("package", name)] = Package(version)
        result[Key("file", f"/var/lib/dpkg/info/{name}.list")] = file("")
    return result


def offers(*more: str) -> dict[str, Offer]:
    """What apt could install on an Ubuntu 24.04."""
    names = (*NVIDIA_PACKAGES, *TOOLKIT, "libcudart12", "nvidia-fabricmanager-580", "libnvidia-nscq-580", *more)
    return {name: Offer(VERSION) for name in names}


def node(
    name: str,
    states: Mapping[Key, State | None] | None = None,
    kernel: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    **about: object,
) -> SimulatedMachine:
    """An Ubuntu 24.04 with a fixture's bus and the account bai."""
    kernels = {"/proc/sys/kernel/osrelease": KERNEL, "/proc/sys/kernel/arch": "x86_64"}
    system = {
        f"/boot/vmlinuz-{KERNEL}": "",
        f"/boot/initrd.img-{KERNEL}": "",
        f"/lib/modules/{KERNEL}/modules.dep": "kernel/drivers/net/virtio_net.ko.zst:\n",
        "/var/lib/apt/lists/lock": "",
        "/etc/apt/sources.list.d/ubuntu.sources": "",
    }
    there: dict[Key, State | None] = {**bai(), **installed({"linux-image-generic": "6.8.0-60.63"}), **(states or {})}
    return ubuntu(
        there,
        {**system, **(files or {})},
        None,
        kernel={**kernels, **bus(name), **(kernel or {})},
        offers=about.pop("offers", offers()),
        **about,
    )


def with_kernel(machine: SimulatedMachine, name: str, version: str = DRIVER) -> SimulatedMachine:
    """Lets `modprobe` load and unload the driver, as a kernel does by itself."""

    def kernel(operation: Operation, moment: str) -> None:
        if moment == "after" and isinstance(operation, RunCommand) and operation.argv[0] == "modprobe":
            loads = "--remove" not in operation.argv
            machine.set_state(Key("file", MODULE_VERSION), file(f"{version}\n") if loads else None)
            answer = Nvml(driver=version, cuda=(13, 0), gpus=gpus(name)) if loads else Nvml(error=9)
            machine.set_state(Key("library", "nvml"), Library(answer.driver, nvml_to_json(answer)))

    machine.fault = kernel
    return machine
