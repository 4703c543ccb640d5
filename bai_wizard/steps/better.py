"""When one value of a kernel parameter is at least as good as another, and what is good enough for both."""

from __future__ import annotations

from typing import Literal

Better = Literal["higher", "lower", "exact", "each-field", "superset"]
Interval = tuple[int, int]


def normal(value: str) -> str:
    """Fields joined by one blank: files have blanks, the kernel prints tabs."""
    return " ".join(value.split())


def at_least_as_good(better: Better, value: str, wanted: str) -> bool:
    """True when `value` serves where `wanted` is asked for. What is no number only serves as its equal."""
    value, wanted = normal(value), normal(wanted)
    if value == wanted:
        return True
    try:
        if better == "higher":
            return int(value) >= int(wanted)
        if better == "lower":
            return int(value) <= int(wanted)
        if better == "each-field":
            pairs = zip(value.split(), wanted.split(), strict=True)
            return all(int(mine) >= int(theirs) for mine, theirs in pairs)
        if better == "superset":
            return union(intervals(value), intervals(wanted)) == intervals(value)
    except ValueError:
        return False
    return False


def good_for_both(better: Better, wanted: str, present: str) -> str:
    """The value that serves where either is asked for; `wanted` where `present` makes no sense."""
    wanted, present = normal(wanted), normal(present)
    try:
        if better == "higher":
            return str(max(int(wanted), int(present)))
        if better == "lower":
            return str(min(int(wanted), int(present)))
        if better == "each-field":
            pairs = zip(wanted.split(), present.split(), strict=True)
            return " ".join(str(max(int(mine), int(theirs))) for mine, theirs in pairs)
        if better == "superset":
            return _join(wanted, union(intervals(wanted), intervals(present)))
    except ValueError:
        return wanted
    return wanted


def intervals(text: str) -> tuple[Interval, ...]:
    """Ports as disjoint intervals in order: `10000 65000` is one, `6001,30000-31000` are two. Raises ValueError."""
    words = text.split()
    if len(words) == 2:
        return ((int(words[0]), int(words[1])),)
    found = []
    for part in text.replace(" ", "").split(","):
        low, dash, high = part.partition("-")
        if part:
            found.append((int(low), int(high if dash else low)))
    return union(tuple(found), ())


def union(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """The ports of both; neighbours are joined, as the kernel prints them."""
    merged: list[Interval] = []
    for low, high in sorted((*one, *other)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def within(ports: tuple[Interval, ...], bounds: Interval) -> tuple[Interval, ...]:
    """The ports that lie inside the bounds."""
    low, high = bounds
    cut = ((max(first, low), min(last, high)) for first, last in ports)
    return tuple((first, last) for first, last in cut if first <= last)


def port_list(ports: tuple[Interval, ...]) -> str:
    """As the kernel prints a list of ports: `6001,30000-31000`."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ports)


def _join(like: str, ports: tuple[Interval, ...]) -> str:
    if len(like.split()) == 2:
        return f"{ports[0][0]} {ports[-1][1]}"
    return port_list(ports)
