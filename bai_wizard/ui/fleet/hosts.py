"""Host names in a few characters: `gpu[001-040,042-096], login1`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Fewer names than this are listed: `gpu1, gpu2`.
FEW = 3
_NUMBERED = re.compile(r"(.*?)(\d{1,18})(\D*)", re.DOTALL)


def natural(host: str) -> tuple[str | int, ...]:
    """The sort key of a host name: `gpu9` before `gpu10`."""
    return tuple(int(part) if at % 2 else part for at, part in enumerate(re.split(r"(\d{1,18})", host)))


def host_ranges(hosts: Iterable[str]) -> str:
    """The names with ranges of their last numbers; expands to exactly these names, leading zeros included."""
    names = sorted(dict.fromkeys(hosts), key=natural)
    parts = {host: match.groups() for host in names if (match := _NUMBERED.fullmatch(host)) and host.isascii()}
    padded = {(start, end, len(digits)) for start, digits, end in parts.values() if digits.startswith("0")}
    groups: dict[tuple[str, str, int], list[int]] = {}
    result: list[str] = []
    for host in names:
        if host not in parts:
            result.append(host)
            continue
        start, digits, end = parts[host]
        width = len(digits) if (start, end, len(digits)) in padded else 0
        groups.setdefault((start, end, width), []).append(int(digits))
    for (start, end, width), numbers in groups.items():
        if len(numbers) < FEW:
            result += [f"{start}{number:0{width}}{end}" for number in numbers]
        else:
            spans = (f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for a, b in _runs(numbers))
            result.append(f"{start}[{','.join(spans)}]{end}")
    return ", ".join(result)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
