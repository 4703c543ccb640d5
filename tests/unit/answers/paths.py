"""Paths of the example answers files."""

from __future__ import annotations

import tomllib
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
BAD = FIXTURES / "bad"
GOOD = FIXTURES / "good"
# Represents a secret in the bad files: it must not appear anywhere.
CANARY = "hunter2"


def expected() -> dict[str, list[tuple[int, str]]]:
    """Name of a bad file → line and a part of the reason of each of its problems."""
    table = tomllib.loads((BAD / "expected.toml").read_text(encoding="utf-8"))
    return {name: [(line, reason) for line, reason in problems] for name, problems in table.items()}
