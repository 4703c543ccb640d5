"""The node's hardware by psutil and py-cpuinfo: complete and slow (1.5 s), never on the way to a screen."""

from __future__ import annotations

from bai_wizard.core.machine import Disk, Hardware
from bai_wizard.machine.account import as_account

# py-cpuinfo samples the clock for a second and starts programs; a child bears that, and may hang alone. Seconds.
CPU_DEADLINE = 10.0


def hardware() -> Hardware:
    """Processor, memory and file systems of the running node. Raises CannotTell where there is no answer in time."""
    import psutil

    brand, flags = as_account(None, _processor, answer=tuple[str, tuple[str, ...]], deadline=CPU_DEADLINE)
    memory = psutil.virtual_memory()
    disks = []
    for partition in psutil.disk_partitions(all=False):
        try:
            usage = psutil.disk_usage(partition.mountpoint)
        except OSError:
            continue  # a mount that cannot be looked at is the storage checks' matter
        disks.append(Disk(partition.mountpoint, partition.fstype, usage.total, usage.used))
    return Hardware(
        processor=brand,
        flags=flags,
        cores=psutil.cpu_count(logical=False) or 0,
        threads=psutil.cpu_count() or 0,
        memory=memory.total,
        available=memory.available,
        booted=psutil.boot_time(),
        disks=tuple(disks),
    )


def _processor() -> tuple[str, tuple[str, ...]]:
    import cpuinfo

    found = cpuinfo.get_cpu_info()
    return str(found.get("brand_raw", "")), tuple(found.get("flags", ()))
