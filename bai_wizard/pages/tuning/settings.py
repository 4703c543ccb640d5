"""Settings of [tuning]: kernel parameters, limits and reserved ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import PlainValidator, WithJsonSchema

from bai_wizard.pages.fields import Conflict, Many, SettingsPart, SettingsTable, field
from bai_wizard.pages.values import PortRange, SysctlKey, UnitName

# The kernel's own bounds: fs.nr_open must fit into 31 bits, pids into 22 (include/linux/threads.h).
LARGEST_NOFILE = 2**30
LARGEST_NPROC = 2**22


def check_sysctl_value(value: object) -> int | str:
    """A whole number or a plain text. Raises ValueError with the reason."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str) and re.fullmatch(r"""[^\s"'#;][^"'#;\x00-\x1f]*""", value):
        return value
    raise ValueError("must be a whole number or a text without quotes, '#' and ';', which the kernel takes literally")


def check_memlock(value: object) -> int | Literal["unlimited"]:
    """KiB or no limit at all. Raises ValueError with the reason."""
    if value == "unlimited":
        return "unlimited"
    if isinstance(value, int) and not isinstance(value, bool) and 64 <= value <= 2**40:
        return value
    raise ValueError('must be a number of KiB, at least 64, or "unlimited"')


SysctlValue = Annotated[
    int | str, PlainValidator(check_sysctl_value), WithJsonSchema({"type": ["integer", "string"]})
]
Memlock = Annotated[
    int | Literal["unlimited"],
    PlainValidator(check_memlock),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 64, "maximum": 2**40}, {"const": "unlimited"}]}),
]


class LimitSettings(SettingsPart):
    """Limits of logins of root and the operation account."""

    nofile: int = field(
        512000, label="Open files", help="How many files a process may have open.", ge=1024, le=LARGEST_NOFILE
    )
    nproc: int = field(
        65536,
        label="Processes",
        help="How many processes and threads the account may have. Containers that run under its uid count as well.",
        ge=1024,
        le=LARGEST_NPROC,
    )
    memlock: Memlock | None = field(
        None,
        label="Locked memory",
        help='How much memory a process may lock, in KiB, or "unlimited". Absent: left as it is.',
        unit="KiB",
        example="unlimited",
    )


class ServiceLimits(SettingsPart):
    """Limits of one service; limits of logins do not reach it."""

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
            yield Conflict((), "names no limit; give nofile, nproc or memlock")


class TuningSettings(SettingsTable):
    """Kernel parameters and limits."""

    profile: Literal["official", "compute", "management"] = field(
        "official",
        label="Profile",
        help="The set of kernel parameters to start from.",
        choices={
            "official": "the manual's values",
            "compute": "for agents with many containers",
            "management": "for the manager and its databases",
        },
    )
    keep_better: bool = field(
        True,
        label="Keep better values",
        help="Keeps a value of this node that is at least as good as the profile's; some of the manual's are lower.",
    )
    sysctl: dict[SysctlKey, SysctlValue] = field(
        {},
        label="Own parameters",
        help="Kernel parameters of your own: they are added to the profile or take the place of its values.",
        example={"vm.max_map_count": 1048576},
    )
    exclude: Many[SysctlKey] = field(
        (),
        label="Left out",
        help="Kernel parameters of the profile that are not touched.",
        example=["vm.overcommit_memory"],
    )
    limits: LimitSettings = field(
        factory=LimitSettings,
        label="Login limits",
        help="Limits for logins of root and the operation account; what is effective already is never lowered.",
    )
    reserved_ports: Many[PortRange] = field(
        ("auto",),
        label="Reserved ports",
        help='Ports that the kernel must not hand out to clients. "auto": those of Backend.AI, by the node\'s roles.',
        example=["auto", "30000-31000"],
    )
    services: dict[UnitName, ServiceLimits] = field(
        factory=lambda: {"docker": ServiceLimits(nofile=1048576)},
        label="Service limits",
        help="Limits of systemd services by their names, written as drop-in files.",
        example={"docker": {"nofile": 1048576}},
    )

    def conflicts(self) -> Iterator[Conflict]:
        for place, key in enumerate(self.exclude):
            if key in self.sysctl:
                yield Conflict(("exclude", place), "stands in `sysctl` too; leave it out of one of them")
        for place, ports in enumerate(self.reserved_ports):
            low, _, high = ports.partition("-")
            if ports != "auto" and not 1 <= int(low) <= int(high or low) <= 65535:
                yield Conflict(("reserved_ports", place), "must lie between 1 and 65535, the lower port first")
