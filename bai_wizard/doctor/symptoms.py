"""The list of failures that people meet, as data: `data/symptoms.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bai_wizard.data import read_toml


@dataclass(frozen=True)
class Failure:
    """A failure: the words that programs print, why, and the way out. `checks` decide whether it is this one here.

    `fix` is the word of the list: auto, confirm, guided or info; `owner` «site»: never changed by the wizard.
    """

    id: str
    page: str
    title: str
    texts: tuple[str, ...]
    cause: str
    remedy: str
    checks: tuple[str, ...]
    fix: str
    owner: str = "bai-wizard"
    risk: str = ""


@cache
def failures() -> tuple[Failure, ...]:
    """All of them, what matters most first."""
    return tuple(
        Failure(**{**entry, "texts": tuple(entry["texts"]), "checks": tuple(entry["checks"])})
        for entry in read_toml("symptoms.toml")["failure"]
    )
