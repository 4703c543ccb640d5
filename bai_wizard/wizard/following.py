"""What comes next, once this page of Backend.AI's manual is done: its own installation."""

from __future__ import annotations

from collections.abc import Iterable

NEXT = {
    "management": "as the account: ~/manager/.venv/bin/python -m pip install backend.ai-manager=={release}",
    "compute": "as the account: ~/agent/.venv/bin/python -m pip install backend.ai-agent=={release}",
    "storage": "as the account: ~/storage-proxy/.venv/bin/python -m pip install backend.ai-storage-proxy=={release}",
}


def following(roles: Iterable[str], release: str) -> list[str]:
    """The next command for each role of the node."""
    return [NEXT[role].format(release=release or "RELEASE") for role in roles]
