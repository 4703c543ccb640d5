"""Group nodes that are alike once host names and own addresses are factored out, the largest group first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from bai_wizard.core.operation import MARKS
from bai_wizard.core.operation import Change as PlannedChange
from bai_wizard.ui.fleet.hosts import host_ranges, natural
from bai_wizard.ui.fleet.read import Change, Drifted, Item, Node

Topic = Literal["plan", "report", "drift"]
State = Literal["ok", "changes", "blocked", "warning", "failed", "unknown"]
# From the best to the worst.
STATES: tuple[State, ...] = ("ok", "unknown", "changes", "warning", "blocked", "failed")
OF_RESULT: dict[str, State] = {
    "problem": "failed",
    "warning": "warning",
}
# What is unknown could not be compared.
OF_DRIFT: dict[str, State] = {"changed": "changes", "refused": "failed"}
OF_CODE: dict[int, tuple[State, str]] = {
    0: ("ok", "prepared"),
    3: ("blocked", "refused"),
    5: ("warning", "waits for a reboot"),
    6: ("warning", "prepared, optional steps failed"),
    130: ("warning", "stopped"),
}
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w.:])")
_LOOPBACK = ("127.", "::1")


class Entry(NamedTuple):
    """One thing to tell about a node. `key` is what is compared, `lines` the details, for this node."""

    id: str
    page: str
    state: State
    title: str
    key: tuple[str, ...]
    lines: tuple[str, ...]
    text: str = ""


class Group(Struct, frozen=True):
    """Nodes with the same entries; `entries` are those of the first node."""

    nodes: tuple[Node, ...]
    entries: tuple[Entry, ...]
    state: State
    headline: str

    @property
    def hosts(self) -> str:
        """The names of the nodes, as ranges."""
        return host_ranges(node.host for node in self.nodes)

    @property
    def overrides(self) -> tuple[str, ...]:
        """The keys that an [[override]] sets on these nodes."""
        return tuple(dict.fromkeys(key for node in self.nodes for key in node.overrides))

    def keys(self) -> dict[str, tuple[str, ...]]:
        """What is compared, by the ids of the entries."""
        return {entry.id: entry.key for entry in self.entries}

    def pages(self) -> dict[str, tuple[State, int]]:
        """The worst state of each page, and the number of its entries."""
        result: dict[str, tuple[State, int]] = {}
        for entry in self.entries:
            state, count = result.get(entry.page, ("ok", 0))
            result[entry.page] = (_worst((state, entry.state)), count + 1)
        return result


def grouped(nodes: Iterable[Node], topic: Topic) -> tuple[Group, ...]:
    """The groups, the largest first; nodes about which the files say nothing on this topic are left out."""
    known: dict[int, Entry] = {}
    told = {node.host: (node, tuple(_entries(node, topic, known))) for node in nodes if _is_told(node, topic)}
    names = {host: _own(node) for host, (node, _) in told.items()}
    shared = Counter(
        (entry.id, line)
        for host, (_, entries) in told.items()
        for entry in entries
        if host.partition(".")[0] in entry.text
        for line in {line for line in entry.key if names[host].search(line)}
    )
    groups: dict[tuple[tuple[State, str], object], list[tuple[Node, tuple[Entry, ...]]]] = {}
    for host, (node, entries) in told.items():
        headline = _headline(node, entries, topic)
        alike = tuple(_factored(entries, node, names[host], shared))
        key = (headline, tuple((entry.id, entry.state, entry.text) for entry in alike))
        groups.setdefault(key, []).append((node, alike))
    result = [
        Group(tuple(node for node, _ in members), members[0][1], *headline)
        for (headline, _), members in groups.items()
    ]
    return tuple(sorted(result, key=lambda group: (-len(group.nodes), natural(group.nodes[0].host))))


def _is_told(node: Node, topic: Topic) -> bool:
    if topic == "plan":
        return node.plan is not None
    if topic == "drift":
        return (
            node.plan is not None
            or node.drift is not None
            or any(_is_drift(finding.id) for finding in node.findings or ())
        )
    return node.result is not None or node.findings is not None or node.report is not None


def _is_drift(id: str) -> bool:
    return id.endswith(".drift")


def _entries(node: Node, topic: Topic, known: dict[int, Entry]) -> Iterator[Entry]:
    """What is reported about a node. `known` holds the entries of items that other nodes have as well."""
    if topic == "drift" and node.drift is not None:
        yield from (_of_drifted(each) for each in node.drift if not (each.accepted or each.excused))
        return
    if topic != "report":
        for item in node.plan or ():
            if item.verdict.kind != "unchanged":
                if id(item) not in known:
                    known[id(item)] = _of_item(item)
                yield known[id(item)]
    elif node.result is not None:
        for step in node.result.steps:
            if step.outcome == "failed":
                lines = tuple(step.text.splitlines()) or ("failed",)
                title = step.describe or step.step
                yield Entry(step.step, step.step.partition(".")[0], "failed", title, lines, lines, step.text)
    if topic == "plan":
        return
    for finding in node.findings or ():
        state = OF_RESULT.get(finding.result)
        if state is None or finding.ignored or (topic == "drift" and not _is_drift(finding.id)):
            continue
        lines = tuple(finding.cause.splitlines())
        yield Entry(finding.id, finding.page, state, finding.title or finding.id, lines, lines, finding.cause)


def _of_item(item: Item) -> Entry:
    verdict = item.verdict
    if verdict.kind == "blocked":
        lines = tuple(verdict.reason.splitlines())
        state: State = "warning" if item.step.optional else "blocked"
        return Entry(item.step.id, item.page, state, item.describe or item.step.id, lines, lines, verdict.reason)
    lines = tuple(line for change in verdict.changes for line in change_lines(change))
    if verdict.known_after:
        lines += (f"more is known after {verdict.known_after}",)
    return Entry(item.step.id, item.page, "changes", item.describe or item.step.id, lines, lines, "\n".join(lines))


def _of_drifted(each: Drifted) -> Entry:
    text = each.diff.rstrip("\n") or each.reason
    lines, page = tuple(text.splitlines()), each.step.partition(".")[0]
    id = each.step if each.kind == "step" else f"{each.step}: {each.kind} {each.name}"
    return Entry(id, page, OF_DRIFT.get(each.state, "blocked"), each.describe or each.step, lines, lines, text)


def change_lines(change: Change) -> list[str]:
    """A change as a diff, as the node's own plan shows it."""
    verb = change.verb if change.verb in MARKS else "modify"
    shown = PlannedChange(change.subject, verb, change.before, change.after, change.attributes)  # type: ignore[arg-type]
    return shown.diff().splitlines()


def _headline(node: Node, entries: Sequence[Entry], topic: Topic) -> tuple[State, str]:
    """The state of the node, and what it is in a few words."""
    worst = _worst(entry.state for entry in entries)
    count = len(entries)
    if topic == "report" and node.result is not None:
        state, words = OF_CODE.get(node.result.code, ("failed", "a step failed"))
        if node.result.stopped == "interrupted":
            words = "stopped"
        if node.findings and state == "ok" and worst != "ok":
            return worst, f"{words}, {_many(count, 'finding')}"
        return _worst((state, worst)), words
    if topic == "report":
        return worst, _many(count, "finding") if count else "no findings"
    if worst == "blocked":
        return worst, "refused" if topic == "plan" or node.drift is None else "not compared completely"
    if topic == "plan":
        return worst, _many(count, "step") if count else "no changes"
    what = "step" if node.drift is None else "object"
    return worst, f"differs in {_many(count, what)}" if count else "as in the answers"


def _worst(states: Iterable[State]) -> State:
    return STATES[max(map(STATES.index, states), default=0)]


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


# What is the node's own.


def _own(node: Node) -> re.Pattern[str]:
    """Matches the node's host name, short or full."""
    names = sorted({node.host, node.host.partition(".")[0]}, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])")


def _factored(
    entries: Sequence[Entry], node: Node, name: re.Pattern[str], shared: Mapping[tuple[str, str], int]
) -> Iterator[Entry]:
    """The entries with the host name and its addresses replaced, except in lines that other nodes have as well.

    An address is the node's own if it is on a line with its name that no other node has, or among the addresses that
    its report lists.
    """
    short = node.host.partition(".")[0]
    near = [entry for entry in entries if short in entry.text]
    mine = [line for entry in near for line in entry.key if shared.get((entry.id, line)) == 1]
    own = {each for line in mine for each in _ADDRESS.findall(line) if not each.startswith(_LOOPBACK)}
    own |= set(_ADDRESS.findall(_reported(node)))
    address = re.compile("|".join(rf"(?<![\w.:]){re.escape(each)}(?![\w.:])" for each in own)) if own else None
    for entry in entries:
        if short not in entry.text and not any(each in entry.text for each in own):
            yield entry
            continue
        key = tuple(_without(line, name, address) if _is_own(entry.id, line, shared) else line for line in entry.key)
        yield entry._replace(key=key, text="\n".join(key))


def _is_own(id: str, line: str, shared: Mapping[tuple[str, str], int]) -> bool:
    return shared.get((id, line), 0) <= 1


def _without(line: str, name: re.Pattern[str], address: re.Pattern[str] | None) -> str:
    line = name.sub("{host}", line)
    return address.sub("{address}", line) if address else line


def _reported(node: Node) -> str:
    rows = (node.report or {}).get("node", {}).get("aliases", {})
    return str(rows.get("Own addresses", "")) if isinstance(rows, dict) else ""
