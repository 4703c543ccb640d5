"""nftables rulesets as printed by `nft --json list ruleset`: what they accept and what they only appear to accept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.pages.node.check_advisories import ALL_PORTS, allowed_by

Part = dict[str, Any]
ACCEPT: Part = {"accept": None}
HERE = {"family": "inet", "table": "filter"}


def payload(protocol: str, field: str, right: Any, op: str = "==") -> Part:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def meta(key: str, right: Any) -> Part:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}}


def state(right: Any) -> Part:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": right}}


def rule(*parts: Part, chain: str = "input") -> Part:
    return {"rule": {**HERE, "chain": chain, "handle": 4, "expr": list(parts)}}


def ruleset(*items: Part, policy: str = "drop", hook: str = "input") -> str:
    chain = {"chain": {**HERE, "name": "input", "handle": 1, "type": "filter", "hook": hook, "policy": policy}}
    return json.dumps({"nftables": [{"metainfo": {"version": "1.1.3"}}, {"table": HERE}, chain, *items]})


TCP = {port: payload("tcp", "dport", port) for port in (22, 6001)}
LETS_IN: dict[str, tuple[str, list[tuple[int, int]]]] = {
    "a port": (ruleset(rule(TCP[6001], {"counter": {"packets": 0, "bytes": 0}}, ACCEPT)), [(6001, 6001)]),
    "a range, for some": (
        ruleset(rule(payload("ip", "saddr", {"prefix": {"addr": "10.0.0.0", "len": 8}}),
                     payload("tcp", "dport", {"range": [30000, 32000]}), ACCEPT)),
        [(30000, 32000)],
    ),
    "several": (
        ruleset(rule(payload("tcp", "dport", {"set": [22, {"range": [6001, 6019]}]}), ACCEPT)),
        [(22, 22), (6001, 6019)],
    ),
    "new connections to a port": (ruleset(rule(state("new"), TCP[6001], ACCEPT)), [(6001, 6001)]),
    "everything from a network": (ruleset(rule(payload("ip", "saddr", "10.0.0.1"), ACCEPT)), [ALL_PORTS]),
    "everything at an interface": (ruleset(rule(meta("iifname", "eth1"), ACCEPT)), [ALL_PORTS]),
    "everything": (ruleset(rule(ACCEPT)), [ALL_PORTS]),
    "a chain behind": (
        ruleset(rule(meta("l4proto", "tcp"), {"jump": {"target": "ours"}}), rule(TCP[6001], ACCEPT, chain="ours"),
                rule({"goto": {"target": "input"}}, chain="ours")),
        [(6001, 6001)],
    ),
    "a named set": (
        ruleset({"set": {**HERE, "name": "bai", "type": "inet_service", "elem": [6001, {"range": [1, 9]}]}},
                rule(payload("tcp", "dport", "@bai"), ACCEPT)),
        [(6001, 6001), (1, 9)],
    ),
    "a map of verdicts": (
        ruleset(rule({"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}},
                               "data": {"set": [[6001, ACCEPT], [25, {"drop": None}]]}}})),
        [(6001, 6001)],
    ),
    "answers only": (ruleset(rule(state({"set": ["established", "related"]}), ACCEPT)), []),
    "loopback": (ruleset(rule(meta("iifname", "lo"), ACCEPT)), []),
    "other protocols": (ruleset(rule(payload("udp", "dport", 53), ACCEPT), rule(meta("l4proto", "udp"), ACCEPT)), []),
    "all but a port": (ruleset(rule(payload("tcp", "dport", 22, "!="), ACCEPT)), []),
    "a rule that drops": (ruleset(rule(TCP[6001], {"drop": None})), []),
    "a chain that nobody goes to": (ruleset(rule(TCP[6001], ACCEPT, chain="other")), []),
}  # fmt: skip


@pytest.mark.parametrize("case", LETS_IN)
def test_allowed_packets(case: str) -> None:
    text, ports = LETS_IN[case]
    assert allowed_by(text) == ports


def test_a_ruleset_as_nft_prints_it() -> None:
    """Written by nft 1.0.6 of a table with every form that the rules above have."""
    text = Path(__file__).with_name("ruleset.json").read_text()
    assert allowed_by(text) == [
        (22, 22), (39200, 39200), (30000, 32000), (6001, 6019), (38200, 38200), (40128, 40128),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [ruleset(policy="accept"), ruleset(hook="forward"), '{"nftables": []}'])
def test_where_nothing_is_dropped(text: str) -> None:
    assert allowed_by(text) is None


@pytest.mark.parametrize("text", ["", "table inet filter {", "[]", '{"nftables": [{"rule": {}}]}'])
def test_unreadable_rules_are_not_considered_open(text: str) -> None:
    with pytest.raises(StateUnknown):
        allowed_by(text)
