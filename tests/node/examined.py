"""What the doctor finds wrong on a node."""

from __future__ import annotations

import json

from tests.node.api import Node

BAD = ("problem", "warning", "crashed")


def found(node: Node, *words: str) -> list[str]:
    """The ids of its findings, in its order; `words` are further arguments."""
    done = node.wizard("doctor", "--json", *words)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events, done.err
    assert events[-1]["kind"] == "summary", done.err
    return [event["data"]["id"] for event in events if event["data"].get("result") in BAD]
