"""What a package requirement asks for, as far as it can be told without an index: enough to see that it is met."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*(.*)$")
_CLAUSE = re.compile(r"^(===|==|~=|!=|<=|>=|<|>)\s*([^\s,]+)$")
_RELEASE = re.compile(r"^v?(?:\d+!)?(\d+(?:\.\d+)*)((?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?)", re.I)


@dataclass(frozen=True)
class Wanted:
    """A distribution by its normalised name (PEP 503) and the clauses on its version; none: any version will do."""

    name: str
    clauses: tuple[tuple[str, str], ...] = ()

    def exact(self) -> str:
        """The one version that is asked for; empty where several would do."""
        pins = [version for operator, version in self.clauses if operator in ("==", "===") and "*" not in version]
        return pins[0] if pins else ""

    def met_by(self, version: str) -> bool:
        """True when an installed version fits every clause. Build tags behind a `+` are not compared."""
        return all(_fits(version, operator, bound) for operator, bound in self.clauses)


def normalised(name: str) -> str:
    """The form in which two spellings of a distribution's name are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_requirement(text: str) -> Wanted:
    """Reads `name[extras] clauses ; marker` and `name @ address`. Raises ValueError on anything else."""
    found = _REQUIREMENT.match(text.partition(";")[0])
    if found is None:
        raise ValueError(f"not a package requirement: {text!r}")
    name, rest = normalised(found[1]), found[2].strip().strip("()").strip()
    if not rest or rest.startswith("@"):
        return Wanted(name)
    clauses = []
    for part in rest.split(","):
        clause = _CLAUSE.match(part.strip())
        if clause is None:
            raise ValueError(f"not a package requirement: {text!r}")
        clauses.append((clause[1], clause[2]))
    return Wanted(name, tuple(clauses))


def _fits(version: str, operator: str, bound: str) -> bool:
    if operator in ("==", "!=") and bound.endswith(".*"):
        prefix = bound[:-2].split(".")
        return (_parts(version, len(prefix)) == prefix) == (operator == "==")
    here, there = _rank(version), _rank(bound)
    if operator == "===":
        return version == bound
    if operator == "~=":
        prefix = bound.split(".")[:-1]
        return here >= there and _parts(version, len(prefix)) == prefix
    if operator == "<" and here[0] == there[0] and there[1]:
        return False  # a pre-release of the bound is not before it
    answers = {
        "==": here == there,
        "!=": here != there,
        "<=": here <= there,
        ">=": here >= there,
        "<": here < there,
        ">": here > there,
    }
    return answers[operator]


def _parts(version: str, count: int) -> list[str]:
    release = _RELEASE.match(version)
    numbers = release[1].split(".") if release else [version]
    return (numbers + ["0"] * count)[:count]


def _rank(version: str) -> tuple[tuple[int, ...], int, str]:
    """Sorts versions: release numbers without trailing zeros, a pre-release before its release."""
    found = _RELEASE.match(version)
    if found is None:
        return ((), 0, version)
    numbers = [int(part) for part in found[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return (tuple(numbers), 0 if found[2] else 1, found[2].lower())
