"""A fleet as text: the majority first, then how each other group differs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bai_wizard.core.display import visible
from bai_wizard.ui.consequences import DISRUPTS
from bai_wizard.ui.fleet.groups import Entry, Group, Topic

# With many groups, fewer lines of each are shown; the HTML page has all.
LINES = 60
MARKS = {"blocked": "!", "failed": "!", "warning": "?", "changes": "+", "unknown": "?", "ok": " "}


def fleet_lines(groups: Sequence[Group], topic: Topic) -> Iterator[str]:
    """All groups. No content of a file can start a new line."""
    nodes = sum(len(group.nodes) for group in groups)
    yield f"{_count(nodes, 'node')}, {_count(len(groups), 'group')}"
    room = max(1, (LINES - 8) // max(1, len(groups) - 1) - 2)
    for number, group in enumerate(groups):
        yield ""
        yield f"{_count(len(group.nodes), 'node')}: {_shown(group.headline)}: {_shown(group.hosts)}"
        if group.overrides:
            yield f"  wanted by an [[override]]: {', '.join(map(_shown, group.overrides))}"
        yield from (f"  {line}" for line in interrupted(group))
        if number == 0 or (topic == "report" and not groups[0].entries):
            yield from _majority(group)
        else:
            lines = list(differences(group, groups[0]))
            yield from (f"  {line}" for line in lines[:room])
            if len(lines) > room:
                yield f"  … {_count(len(lines) - room, 'more line')}"


def interrupted(group: Group) -> Iterator[str]:
    """What applying the plan would interrupt now, with how many on the nodes of the group."""
    for what in dict.fromkeys(what for node in group.nodes for what in node.interrupts):
        counts = [node.interrupts.get(what, 0) for node in group.nodes]
        number = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        words = next((text for kind, text in DISRUPTS.items() if kind == what), f"interrupts {_shown(what)}")
        yield f"{words}: {number} affected"


def _majority(group: Group) -> Iterator[str]:
    pages = Counter(entry.page for entry in group.entries)
    if pages:
        yield f"  {', '.join(f'{_shown(page)} {count}' for page, count in pages.items())}"
    for entry in group.entries:
        if entry.state in ("blocked", "failed", "warning"):
            yield f"  {told(entry)}"


def told(entry: Entry) -> str:
    """An entry in one line."""
    reason = f": {_shown(entry.lines[0])}" if entry.lines and entry.state != "changes" else ""
    title = "" if entry.title == entry.id else f": {_shown(entry.title)}"
    return f"{MARKS[entry.state]} {_shown(entry.id)}{title}{reason}"


def differences(group: Group, majority: Group) -> Iterator[str]:
    """How the entries of a group differ from those of the majority: what is more, what is other, what is missing."""
    theirs = majority.keys()
    for entry in group.entries:
        if entry.id not in theirs or entry.state not in ("changes", "ok"):
            yield told(entry)
        elif entry.key != theirs[entry.id]:
            yield f"~ {_shown(entry.id)}: {_shown(entry.title)}"
            more = Counter(entry.key) - Counter(theirs[entry.id])
            yield from (f"    {_shown(line)}" for line in entry.key if line in more and not line.startswith("@@"))
    mine = group.keys()
    missing = [entry.id for entry in majority.entries if entry.id not in mine]
    if missing:
        yield f"- not here: {', '.join(map(_shown, missing[:8]))}{' …' if len(missing) > 8 else ''}"


def group_json(group: Group, majority: Group) -> dict[str, Any]:
    """A group for programs; `differs` compares it with the largest one."""
    entries = [
        {"id": entry.id, "page": entry.page, "state": entry.state, "title": entry.title, "lines": list(entry.lines)}
        for entry in group.entries
    ]
    return {
        "version": 1,
        "hosts": [node.host for node in group.nodes],
        "state": group.state,
        "headline": group.headline,
        "overrides": list(group.overrides),
        "interrupts": {node.host: node.interrupts for node in group.nodes if node.interrupts},
        "entries": entries,
        "differs": [] if group is majority else list(differences(group, majority)),
    }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _shown(text: str) -> str:
    return visible(text if len(text) <= 2000 else text[:2000] + "…", lines=False)
