"""Kernel parameters and modules, and which of two values is the better one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from bai_wizard.core.errors import KnownAfterApply
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Operation, Scope
from bai_wizard.core.parse import whole
from bai_wizard.core.state import Key, command_key
from bai_wizard.core.step import Step, Unchanged
from bai_wizard.resources.commands import RunCommand
from bai_wizard.resources.sysctl import SetSysctl, normal
from bai_wizard.steps.files import OptionalDropIn

Better = Literal["higher", "lower", "exact", "each-field", "superset"]
Interval = tuple[int, int]


def satisfies(better: Better, value: str, wanted: str) -> bool:
    """Whether `value` satisfies a request for `wanted`. A value that is not a number must be equal."""
    value, wanted = normal(value), normal(wanted)
    if value == wanted:
        return True
    try:
        if better == "higher":
            return whole(value) >= whole(wanted)
        if better == "lower":
            return whole(value) <= whole(wanted)
        if better == "each-field":
            pairs = zip(value.split(), wanted.split(), strict=True)
            return all(whole(mine) >= whole(theirs) for mine, theirs in pairs)
        if better == "superset":
            return union(intervals(value), intervals(wanted)) == intervals(value)
    except ValueError:
        return False
    return False


def merge_values(better: Better, wanted: str, present: str) -> str:
    """Return a value that satisfies both; `wanted` if `present` is invalid."""
    wanted, present = normal(wanted), normal(present)
    try:
        if better == "higher":
            return str(max(whole(wanted), whole(present)))
        if better == "lower":
            return str(min(whole(wanted), whole(present)))
        if better == "each-field":
            pairs = zip(wanted.split(), present.split(), strict=True)
            return " ".join(str(max(whole(mine), whole(theirs))) for mine, theirs in pairs)
        if better == "superset":
            return _join(wanted, union(intervals(wanted), intervals(present)))
    except ValueError:
        return wanted
    return wanted


def intervals(text: str) -> tuple[Interval, ...]:
    """Parse ports as sorted, disjoint intervals: `10000 65000` is one, `6001,30000-31000` are two.

    Raises ValueError.
    """
    words = text.split()
    if len(words) == 2:
        return ((whole(words[0]), whole(words[1])),)
    result = []
    for part in text.replace(" ", "").split(","):
        low, dash, high = part.partition("-")
        if part:
            result.append((whole(low), whole(high if dash else low)))
    return union(tuple(result), ())


def union(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Return the ports of both; adjacent intervals are joined, as the kernel prints them."""
    merged: list[Interval] = []
    for low, high in sorted((*one, *other)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def within(ports: tuple[Interval, ...], bounds: Interval) -> tuple[Interval, ...]:
    """Return the ports within the bounds."""
    low, high = bounds
    cut = ((max(first, low), min(last, high)) for first, last in ports)
    return tuple((first, last) for first, last in cut if first <= last)


def port_list(ports: tuple[Interval, ...]) -> str:
    """Format a list of ports like the kernel: `6001,30000-31000`."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)


def _join(like: str, ports: tuple[Interval, ...]) -> str:
    if len(like.split()) == 2:
        return f"{ports[0][0]} {ports[-1][1]}"
    return port_list(ports)


# The number formats of the kernel (strtoul with base 0), and the blanks that may follow a number (proc_get_long).
_NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?![^ \t\n])")
_PORTS = r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*"
_PORT_LIST = re.compile(rf"(?:(?:{_PORTS})(?:-(?:{_PORTS}))?(?:,(?=.)|,?$))*")
# Longer numbers do not fit into the kernel's buffer.
_MOST_CHARACTERS = 20
_INT_MAX = 2**31 - 1


def as_set(key: str, text: str, live: str | None) -> str | None:
    """Return the value of a parameter after `text` was written; None if the kernel rejects it.

    `live` is a value of the parameter: whether it has numbers, and how many. The kernel ignores what follows them.
    """
    if key.replace("/", ".").endswith("_reserved_ports"):
        if not _PORT_LIST.fullmatch(text):
            return None
        words = [[_number(word) for word in part.split("-")] for part in text.split(",") if part]
        ranges = tuple((word[0], word[-1]) for word in words)
        return port_list(union(ranges, ())) if all(low <= high <= 65535 for low, high in ranges) else None
    present = (live or "").split()
    if not present or not all(re.fullmatch(r"-?[0-9]+", word) for word in present):
        return normal(text) if live is not None or not text.startswith(("'", '"')) else None
    values: list[int] = []
    rest = text
    while len(values) < len(present) and (rest := rest.lstrip(" \t\n\v\f\r")):
        match = _NUMBER.match(rest)
        if match is None or len(match[0]) > _MOST_CHARACTERS:
            break
        values.append(-_number(match[2]) if match[1] else _number(match[2]))
        rest = rest[match.end() :]
    # A parameter of several fields keeps those before the first that is not a number; a range is set as a whole.
    if not values or (rest.strip() and len(values) < len(present) and key.endswith("_range")):
        return None
    # Those of the network are integers of 31 bits; of others, that is not known here.
    if max(values) > (_INT_MAX if key.startswith("net") else 2**64 - 1):
        return None
    return " ".join([*map(str, values), *present[len(values) :]])


def _number(text: str) -> int:
    digits = text.lower()
    return whole(digits, 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10)


class SysctlFile(OptionalDropIn, frozen=True, kw_only=True):
    """A drop-in for systemd-sysctl."""

    kind: ClassVar[str] = "sysctl-file"


class LiveSysctl(Step, frozen=True, kw_only=True):
    """Set `key` to `value` unless the live value satisfies `least`.

    A key that this kernel lacks, or that belongs to a container's host, is skipped and reported. `module` provides
    the key; the step `loaded_by` loads it.
    """

    kind: ClassVar[str] = "live-sysctl"
    key: str
    value: str
    least: str
    better: Better = "exact"
    module: str = ""
    loaded_by: str = ""

    def describe(self) -> str:
        return f"set {self.key} = {self.value}"

    def scope(self) -> tuple[Scope, ...]:
        return (Key("sysctl", self.key),)

    def note(self, view: NodeView) -> Unchanged:
        live = view.sysctl(self.key)
        if live is None:
            return Unchanged("this kernel does not have it", skipped=True)
        if satisfies(self.better, live.value, self.least):
            return Unchanged("" if live.value == self.value else f"kept {live.value}")
        return Unchanged(f"it is set on the host, to {live.value}; change it there", skipped=True)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        live = view.sysctl(self.key)
        if live is None and self.module and self.module not in view.names("/sys/module"):
            raise KnownAfterApply(self.loaded_by)
        if live is None or not live.writable or satisfies(self.better, live.value, self.least):
            return
        yield SetSysctl(self.key, self.value)


class KernelModules(OptionalDropIn, frozen=True, kw_only=True):
    """Write a list for systemd-modules-load and load the missing modules."""

    kind: ClassVar[str] = "kernel-modules"
    modules: tuple[str, ...]

    def describe(self) -> str:
        return f"load kernel modules {', '.join(self.modules)}, now and at boot"

    def scope(self) -> tuple[Scope, ...]:
        return (*super().scope(), *(command_key(load(name)) for name in self.modules))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        yield from super().operations(view)
        loaded = view.names("/sys/module")
        for module in self.modules:
            if module not in loaded:
                yield RunCommand(
                    load(module),
                    title=f"load the kernel module {module}",
                    stays=f"the kernel module {module} stays loaded until the next boot",
                )


def load(module: str) -> tuple[str, ...]:
    """Return the command that loads a kernel module."""
    return ("modprobe", "--", module)
