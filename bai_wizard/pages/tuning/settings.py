"""Settings of [tuning]: kernel parameters, limits and reserved ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from bai_wizard.core.parse import Unrepresentable, starts_a_program, sysctl_line
from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import Check, PortRange, SysctlKey, UnitName

# The kernel's own bounds: fs.nr_open must fit into 31 bits, pids into 22 (include/linux/threads.h).
LARGEST_NOFILE = 2**30
LARGEST_NPROC = 2**22


def check_sysctl_value(value: object) -> int | str:
    """Check for an integer or plain text. Raises ValueError with the reason."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str):
        try:
            sysctl_line("key", value)
        except Unrepresentable:
            pass
        else:
            return value
    raise ValueError("must be an integer or one line without quotes, backslashes, '#' or ';'")


def check_memlock(value: object) -> int | Literal["unlimited"]:
    """Check for KiB or "unlimited". Raises ValueError with the reason."""
    if value == "unlimited":
        return "unlimited"
    if isinstance(value, int) and not isinstance(value, bool) and 64 <= value <= 2**40:
        return value
    raise ValueError('must be a number of KiB, at least 64, or "unlimited"')


SysctlValue = Annotated[int | str, Check(check_sysctl_value, {"type": ["integer", "string"]})]
Memlock = Annotated[
    int | Literal["unlimited"],
    Check(check_memlock, {"anyOf": [{"type": "integer", "minimum": 64, "maximum": 2**40}, {"const": "unlimited"}]}),
]


class LimitSettings(SettingsPart):
    """Limits for logins of root and the service account."""

    nofile: int = field(
        512000, label="Open files", help="How many files a process may have open.", ge=1024, le=LARGEST_NOFILE
    )
    nproc: int = field(
        65536,
        label="Processes",
        help="How many processes and threads the account may have. Containers that run with its UID count as well.",
        ge=1024,
        le=LARGEST_NPROC,
    )
    memlock: Memlock | None = field(
        None,
        label="Locked memory",
        help='How much memory a process may lock, in KiB, or "unlimited". Absent: not changed.',
        unit="KiB",
        example="unlimited",
    )


class ServiceLimits(SettingsPart):
    """Limits of one service, to which login limits do not apply."""

    nofile: int | None = field(
        None, label="Open files", help="LimitNOFILE= of the service.", ge=1024, le=LARGEST_NOFILE, example=1048576
    )
    nproc: int | None = field(
        None, label="Processes", help="LimitNPROC= of the service.", ge=1024, le=LARGEST_NPROC, example=131072
    )
    memlock: Memlock | None = field(
        None,
        label="Locked memory",
        help='LimitMEMLOCK= of the service, in KiB, or "unlimited".',
        unit="KiB",
        example="unlimited",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.nofile is None and self.nproc is None and self.memlock is None:
            yield Conflict((), "sets no limit; add nofile, nproc or memlock")


class TuningSettings(SettingsTable):
    """Kernel parameters and limits."""

    profile: Literal["official", "compute", "management"] = field(
        "official",
        label="Profile",
        help="The set of kernel parameters to start from.",
        choices={
            "official": "the manual's values",
            "compute": "for agents that run many containers",
            "management": "for the manager and its databases",
        },
    )
    keep_better: bool = field(
        True,
        label="Keep higher values",
        help="Keep this node's value if it is at least as good as the profile's. Some of the manual's are lower.",
    )
    sysctl: dict[SysctlKey, SysctlValue] = field(
        {},
        label="Custom parameters",
        help="Custom kernel parameters. They are added to the profile or replace its values.",
        example={"vm.max_map_count": 1048576},
    )
    exclude: Many[SysctlKey] = field(
        (),
        label="Excluded",
        help="Kernel parameters of the profile that are not changed.",
        example=["vm.overcommit_memory"],
    )
    limits: LimitSettings = field(
        factory=LimitSettings,
        label="Login limits",
        help="Limits for logins of root and the service account. Limits that are already higher are never lowered.",
    )
    reserved_ports: Many[PortRange] = field(
        ("auto",),
        label="Reserved ports",
        help="Ports not to be used for outgoing connections. \"auto\": Backend.AI's ports for the node's roles.",
        example=["auto", "30000-31000"],
    )
    services: dict[UnitName, ServiceLimits] = field(
        factory=lambda: {"docker": ServiceLimits(nofile=1048576)},
        label="Service limits",
        help="Limits of systemd services by name, written as drop-in files.",
        example={"docker": {"nofile": 1048576}},
    )

    def conflicts(self) -> Iterator[Conflict]:
        for key, value in self.sysctl.items():
            if starts_a_program(key, str(value)):
                yield Conflict(("sysctl", key), "must not name a program: the kernel would run it as root")
        for index, key in enumerate(self.exclude):
            if key in self.sysctl:
                yield Conflict(("exclude", index), "is also in `sysctl`; remove it from one of the two")
        for index, ports in enumerate(self.reserved_ports):
            low, _, high = ports.partition("-")
            if ports != "auto" and not 1 <= int(low) <= int(high or low) <= 65535:
                yield Conflict(("reserved_ports", index), "must be between 1 and 65535, with the lower port first")
