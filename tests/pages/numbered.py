"""Names of the cases of a table in which one name may stand several times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def numbered(names: Iterable[str]) -> list[str]:
    """`x`, `y`, `x-2`: a new row changes the name of no other one."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found
