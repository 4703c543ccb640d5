"""Large matrices are sampled by a printed seed; ``./test --soak`` runs them whole."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def seed() -> int:
    """The seed of this test run, the same in all its processes."""
    return int(os.environ.get("BAI_WIZARD_SEED", "0"))


def is_soak() -> bool:
    """Whether full matrices were asked for."""
    return os.environ.get("BAI_WIZARD_SOAK") == "1"


def sampled(name: str, cases: Sequence[T], count: int) -> list[T]:
    """``count`` of the cases in their own order, drawn by the seed and ``name``; all of them in a soak run.

    Fit for ``pytest.mark.parametrize``: every process of a run draws the same.
    """
    if is_soak() or count >= len(cases):
        return list(cases)
    chosen = sorted(random.Random(f"{seed()}:{name}").sample(range(len(cases)), count))
    return [cases[index] for index in chosen]
