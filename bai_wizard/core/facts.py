"""What is known about a node: a value, its absence, or the reason why nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Known(Generic[T]):
    """The probe answered with a value."""

    value: T


@dataclass(frozen=True)
class Absent:
    """The probe answered: there is no such thing on this node."""


@dataclass(frozen=True)
class Unknown:
    """The probe had no answer. Never to be treated as absent. `reason` is shown to people."""

    reason: str


@dataclass(frozen=True)
class Asked(Unknown):
    """No answer yet, and until the deadline, in seconds, one may come."""

    deadline: float = 0.0

    @staticmethod
    def within(deadline: float) -> Asked:
        """A question that was asked just now."""
        return Asked(f"looking, {deadline:g} s at most", deadline)


Fact = Known[T] | Absent | Unknown


def value_or(fact: Fact[T], default: U) -> T | U:
    """The value if it is known, else `default`. Only for display: decisions look at the three cases."""
    return fact.value if isinstance(fact, Known) else default
