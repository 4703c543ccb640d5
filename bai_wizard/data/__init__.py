"""Facts as data, edited by people who know Backend.AI but not Python."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def read_toml(name: str) -> dict[str, Any]:
    """The content of a TOML file of this package, without the sources of its facts (tests/tools/old_facts.py).

    By its path: importlib.resources costs 12 ms of imports.
    """
    import os
    import tomllib

    with open(os.path.join(os.path.dirname(__file__), name), "rb") as file:
        result = tomllib.load(file)
    result.pop("facts", None)
    return result
