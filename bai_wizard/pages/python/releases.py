"""Releases of Backend.AI as numbers, and the ranges of releases that people write."""

from __future__ import annotations

import re

from bai_wizard.core.errors import WizardError

Number = tuple[int, ...]
# Stands for «the last of them» where an end of a range names no patch level (or no month).
ANY = 10**6


class UnknownRelease(WizardError):
    """What was asked for is no release, or one that is older than the table."""


def number_of(text: str) -> Number:
    """`25.06.1` as (25, 6, 1). A trailing rc1, a4, .dev0 is left out. Raises UnknownRelease for anything else."""
    found = re.fullmatch(r"v?(\d+(?:\.\d+)+)(?:[-_.]?(?:a|b|rc|dev|post)\d*)?(?:\+.*)?", text.strip())
    if found is None:
        raise UnknownRelease(f"{text!r} is no release such as 26.4 or 26.4.10")
    return tuple(int(part) for part in found[1].split("."))


def dotted(number: Number) -> str:
    """(25, 6, 1) as `25.6.1`."""
    return ".".join(str(part) for part in number)


def upper(number: Number) -> Number:
    """The end of what a number stands for: of 26.4 that is its last patch level."""
    return number if len(number) > 2 else (*number, ANY)


def range_of(text: str) -> tuple[Number, Number]:
    """First and last release that a text stands for."""
    parts = [part.strip() for part in re.split(r"\s*(?:~(?!=)|…|\bto\b|\s-\s|(?<=[\dx])-(?=\d))\s*", text.strip())]
    if len(parts) == 2:
        return range_of(parts[0])[0], range_of(parts[1])[1]
    if re.match(r"[<>=~!]", text.strip()):
        return _range_of_clauses(text)
    year = re.fullmatch(r"(\d{2})(?:\.x)?", text.strip())
    if year is not None:
        return (int(year[1]),), (int(year[1]), ANY)
    number = number_of(re.sub(r"\.x$", "", text.strip()))
    return number, upper(number)


def _range_of_clauses(text: str) -> tuple[Number, Number]:
    first: Number = (0,)
    last: Number = (ANY,)
    for clause in text.split(","):
        found = re.fullmatch(r"\s*(==|>=|<=|~=|<|>)\s*(\S+)\s*", clause)
        if found is None:
            raise UnknownRelease(f"{text!r} is no range of releases such as >=25.6,<25.13")
        operator, number = found[1], number_of(re.sub(r"\.[x*]$", "", found[2]))
        if operator in ("==", ">=", "~=", ">"):
            first = max(first, (*number, 0) if operator == ">" else number)
        if operator in ("==", "<="):
            last = min(last, upper(number))
        if operator == "~=":
            last = min(last, upper(number[:-1]) if len(number) > 2 else (number[0], ANY))
        if operator == "<":
            last = min(last, _below(number))
    return first, last


def _below(number: Number) -> Number:
    """The greatest number below `number`: 25.13 → 25.12.any, 25.13.0 likewise."""
    parts = list(number)
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return (*parts[:-1], parts[-1] - 1, ANY)
