"""Findings of the doctor on a node."""

from __future__ import annotations

import json
from typing import Any

from tests.node.api import Node

BAD = ("problem", "warning", "crashed")


def examined(node: Node, *words: str) -> list[dict[str, Any]]:
    """Return what each check said, in order; `words` are additional arguments."""
    done = node.wizard("doctor", "--json", *words)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events, done.err
    assert events[-1]["kind"] == "summary", done.err
    return [event["data"] for event in events[:-1] if event["kind"] == "finding"]


def bad_ids(findings: list[dict[str, Any]]) -> list[str]:
    """Return the ids of those that are no good news, in order."""
    return [finding["id"] for finding in findings if finding["result"] in BAD]


def findings_of(node: Node, *words: str) -> list[str]:
    """Return the ids of its findings in order; `words` are additional arguments."""
    return bad_ids(examined(node, *words))
