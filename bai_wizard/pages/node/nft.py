"""What a ruleset of nftables lets in: `nft --json list ruleset` (libnftables-json(5))."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.steps.better import Interval

ALL: Interval = (1, 65535)
# Matches that say who may come in, or to which address, and nothing of what for.
WHO = ("saddr", "daddr", "iifname", "iif", "iifgroup")
Name = tuple[str, str, str]


def allowed_by(text: str) -> list[Interval] | None:
    """TCP ports that some rule accepts, whoever may use them; None where no chain drops input by default."""
    try:
        items = json.loads(text)["nftables"]
        ruleset = _Ruleset(items)
        dropping = [
            (chain["family"], chain["table"], chain["name"])
            for chain in (item["chain"] for item in items if "chain" in item)
            if chain.get("hook") == "input" and chain.get("policy") == "drop"
        ]
        return [port for chain in dropping for port in ruleset.accepted(chain, frozenset())] if dropping else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CannotTell(f"the rules of nft cannot be read: {type(error).__name__}: {error}") from error


class _Ruleset:
    """Rules by their chain, and named sets."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._rules: dict[Name, list[list[dict[str, Any]]]] = {}
        self._sets: dict[Name, Any] = {}
        for item in items:
            if "rule" in item:
                rule = item["rule"]
                self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["expr"])
            elif "set" in item:
                found = item["set"]
                self._sets[found["family"], found["table"], found["name"]] = {"set": found.get("elem", [])}

    def accepted(self, chain: Name, seen: frozenset[Name]) -> Iterator[Interval]:
        """The ports that the rules of a chain, and those of the chains that it goes on to, accept."""
        for parts in self._rules.get(chain, []):
            matches = [part["match"] for part in parts if "match" in part]
            with_ports = [match for match in matches if _is_port(match)]
            if any(not _says_nothing(match) for match in matches if match not in with_ports):
                continue
            for part in parts:
                inner = (*chain[:2], str((part.get("jump") or part.get("goto") or {}).get("target", "")))
                if inner[2] and inner not in seen:
                    yield from self.accepted(inner, seen | {chain})
                if "vmap" in part and _field(part["vmap"].get("key")) == "dport":
                    for key, verdict in part["vmap"]["data"]["set"]:
                        yield from self._intervals(key, chain) if "accept" in verdict else ()
                if "accept" in part and not with_ports:
                    yield ALL
                elif "accept" in part:
                    yield from (port for match in with_ports for port in self._intervals(match["right"], chain))

    def _intervals(self, right: Any, chain: Name) -> Iterator[Interval]:
        if isinstance(right, int):
            yield (right, right)
        elif isinstance(right, str) and right.startswith("@"):
            yield from self._intervals(self._sets.get((*chain[:2], right[1:])), chain)
        elif isinstance(right, dict) and "range" in right:
            first, last = right["range"]
            yield (int(first), int(last))
        elif isinstance(right, dict):
            for item in right.get("set", []):
                yield from self._intervals(item, chain)


def _is_port(match: dict[str, Any]) -> bool:
    left = match.get("left")
    protocol = str((left.get("payload") or {}).get("protocol", "")) if isinstance(left, dict) else ""
    return _field(left) == "dport" and protocol in ("tcp", "th") and match.get("op") in ("==", "in")


def _says_nothing(match: dict[str, Any]) -> bool:
    """True where the match leaves open which TCP port is meant. Loopback is no way in for other nodes."""
    field, right = _field(match.get("left")), match.get("right")
    if field in ("l4proto", "protocol"):
        return right in ("tcp", 6)
    if field == "state":
        return "new" in right if isinstance(right, str | list) else "new" in (right or {}).get("set", ())
    return field in WHO and right != "lo"


def _field(left: Any) -> str:
    """`dport` of a payload, `iifname` of a meta, `state` of a connection."""
    if not isinstance(left, dict):
        return ""
    inside = left.get("payload") or left.get("meta") or left.get("ct") or {}
    return str(inside.get("field") or inside.get("key") or "")
