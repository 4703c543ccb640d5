"""NVIDIA's own version within the versions of packages."""

from __future__ import annotations

import re


def upstream(version: str) -> str:
    """580.95.05 of `580.95.05-0ubuntu0.24.04.1`; empty for what is no version."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    return found[1] if found else ""


def branch_of(version: str) -> str:
    """580 of `580.95.05-0ubuntu0.24.04.1`; empty for what is no driver's version."""
    found = re.match(r"(?:\d+:)?(\d{3})\.", version)
    return found[1] if found else ""
