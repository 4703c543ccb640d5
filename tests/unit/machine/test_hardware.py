"""The node's hardware by psutil and py-cpuinfo, against the kernel's own files and the tools of the system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from ipaddress import ip_interface

import psutil
import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.machine import Disk, Interface, Memory, Processor
from bai_wizard.node import hardware
from bai_wizard.node.run_as import run_as
from bai_wizard.resources.local import LocalMachine
from tests.waiting import PATIENCE


def kernel(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_memory_and_uptime_are_the_kernels() -> None:
    machine = LocalMachine()
    memory: Memory = machine.hardware("memory")
    total = next(line.split()[1] for line in kernel("/proc/meminfo").splitlines() if line.startswith("MemTotal:"))
    assert memory.total == int(total) << 10
    assert 0 < memory.available <= memory.total
    assert abs(machine.hardware("uptime") - float(kernel("/proc/uptime").split()[0])) < 3


def test_the_processor_is_the_kernels_and_costs_no_second() -> None:
    text = kernel("/proc/cpuinfo")
    begun = time.process_time(), os.times().children_user
    processor: Processor = LocalMachine().hardware("processor")
    assert time.process_time() - begun[0] + os.times().children_user - begun[1] < 1
    assert processor.threads == text.count("processor\t:")
    assert 1 <= processor.cores <= processor.threads
    assert processor.model
    assert f": {processor.model}" in text or os.uname().machine != "x86_64"


def test_the_reader_of_py_cpuinfo_agrees_with_its_public_call() -> None:
    """The reader is not public: this fails when a release renames it, or reads something else."""
    from cpuinfo import cpuinfo

    assert callable(cpuinfo._get_cpu_info_from_proc_cpuinfo)
    assert callable(cpuinfo._get_cpu_info_from_lscpu)
    own, public = run_as(None, _both_calls, answer=tuple[list[str], list[str]], deadline=PATIENCE)
    assert own == public


def _both_calls() -> tuple[list[str], list[str]]:
    import cpuinfo

    known = set(hardware._cpu_info()["flags"])
    public = cpuinfo.get_cpu_info()
    # The public call adds what other sources know.
    return [hardware._cpu_info()["brand_raw"], *sorted(known)], [
        public["brand_raw"],
        *sorted(known & set(public["flags"])),
    ]


def test_a_renamed_reader_of_py_cpuinfo_is_replaced_by_the_public_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from cpuinfo import cpuinfo

    monkeypatch.delattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo")
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"brand_raw": "from the public call"})
    assert hardware._cpu_info() == {"brand_raw": "from the public call"}


def test_on_arm_lscpu_names_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    from cpuinfo import cpuinfo

    monkeypatch.setattr(cpuinfo, "_get_cpu_info_from_proc_cpuinfo", lambda: {"brand_raw": "0", "flags": ["fp"]})
    monkeypatch.setattr(cpuinfo, "_get_cpu_info_from_lscpu", lambda: {"brand_raw": "Neoverse-V2", "flags": ["fp"]})
    assert hardware._cpu_info() == {"brand_raw": "Neoverse-V2", "flags": ["fp"]}


def test_disks_are_those_of_df() -> None:
    disks: dict[str, Disk] = {disk.path: disk for disk in LocalMachine().hardware("disks")}
    done = subprocess.run(
        ["df", "--block-size=1", "--output=size,avail,fstype", "/"], capture_output=True, text=True, check=True
    )
    size, avail, fstype = done.stdout.splitlines()[1].split()
    assert (disks["/"].total, disks["/"].fstype) == (int(size), fstype)
    assert abs(disks["/"].free - int(avail)) < 4 << 30, "others write meanwhile"


def test_a_disk_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(psutil, "disk_usage", fails)
    assert hardware.disks() == ()


def test_a_disk_that_hangs_costs_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "DISK_DEADLINE", 0.2)
    monkeypatch.setattr(psutil, "disk_usage", lambda _path: time.sleep(3))
    with pytest.raises(StateUnknown, match=r"no response within 0\.2 s"):
        hardware.disks()


@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_interfaces_are_those_of_ip() -> None:
    interfaces: tuple[Interface, ...] = LocalMachine().hardware("interfaces")
    done = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True)
    expected = {
        item["ifname"]: (
            item["operstate"],
            {f"{each['local']}/{each['prefixlen']}" for each in item["addr_info"] if "local" in each},
        )
        for item in json.loads(done.stdout)
    }
    assert {each.name: (each.state, set(each.addresses)) for each in interfaces} == expected
    assert [each.name for each in interfaces] == list(expected)
    assert all(ip_interface(text) for each in interfaces for text in each.addresses)


def test_hardware_is_the_running_nodes_only(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(StateUnknown, match="belongs to the running node"):
        LocalMachine(str(tmp_path)).hardware("memory")
