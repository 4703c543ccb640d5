"""Later edits by other users in every file of a run, and the expected content after undo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from tests.node.api import Node
from tests.node.eight_pages import RUNS

# Files that are ours as a whole: certificates, and the marker of a volume.
WHOLE = (".crt", "/version.txt")
MEMBERS = {"insecure-registries": "stranger.example:5000", "registry-mirrors": "http://stranger.example"}
KEYS = {"debug": True, "shutdown-timeout": 20}


@dataclass(frozen=True)
class Edited:
    """An edited file. `found`: its content before the run, None if it did not exist."""

    path: str
    found: bytes | None
    expected: bytes


def written(node: Node, run: str) -> dict[str, bytes | None]:
    """Return every file that a run wrote with its previous content, from the run's journal and backups.

    Files in directories that the run made for the account go with the account and are left out.
    """
    directory = f"{RUNS}/{run}"
    result: dict[str, bytes | None] = {}
    made: list[str] = []
    for line in node.read(f"{directory}/journal.jsonl").decode().splitlines():
        record = json.loads(line)
        if record["what"] != "intent":
            continue
        operation = record["primitive"]
        path = operation.get("path", "")
        before = next((state for sort, _, state in record["before"] if sort == "file"), None)
        if operation["kind"] == "make-directory" and before is None and operation["uid"]:
            made.append(f"{path}/")
        is_ours = path in result or path.endswith(WHOLE) or path.startswith(tuple(made))
        if operation["kind"] == "write-file" and not is_ours:
            result[path] = _content(node, directory, before)
    return result


def _content(node: Node, directory: str, state: dict[str, Any] | None) -> bytes | None:
    if state is None:
        return None
    digest = state["content"].removeprefix("sha256:")
    return node.read(f"{directory}/backup/{digest}")


def edit(node: Node, path: str, result: bytes | None) -> Edited:
    """Edit a file as other users would: in place, in many positions."""
    now = node.read(path)
    if path.endswith(".json"):
        content = json.dumps(_with_strangers(json.loads(now), json.loads(now)), indent=4).encode()
        expected = json.dumps(_with_strangers(json.loads(result or b"{}"), json.loads(now))).encode()
    else:
        content, expected = edited_text((result or b"").decode(), now.decode())
    node.run(["sh", "-c", 'cat >"$1"', "sh", path], input=content, check=True)
    return Edited(path, result, expected)


def edited_text(result: str, now: str) -> tuple[bytes, bytes]:
    """`now` with strange lines at both ends, around and inside each of our parts, and with the neighbors of our parts
    edited; and the same without our parts.
    """
    old, new = result.splitlines(keepends=True), now.splitlines(keepends=True)
    content, expected = [_strange("first")], [_strange("first")]
    hunks = list(SequenceMatcher(None, old, new, autojunk=False).get_opcodes())
    for number, (tag, start, end, first, last) in enumerate(hunks):
        if tag == "equal":
            theirs = new[first:last]
            if number + 1 < len(hunks):
                theirs[-1] = _edited(theirs[-1])
            if number and (len(theirs) > 1 or number + 1 == len(hunks)):
                theirs[0] = _edited(theirs[0])
            content += theirs
            expected += theirs
            continue
        ours = new[first:last]
        middle = len(ours) // 2
        # Where lines of theirs come back, which of them stood above a line inside of ours cannot be told.
        inside = [_strange(f"{number}-inside")] if start == end else []
        content += [
            _strange(f"{number}-before"),
            *ours[:middle],
            *inside,
            *ours[middle:],
            _strange(f"{number}-after"),
        ]
        expected += [_strange(f"{number}-before"), *inside, *old[start:end], _strange(f"{number}-after")]
    return _joined([*content, _strange("last")]), _joined([*expected, _strange("last")])


def same(path: str, one: bytes, other: bytes) -> bool:
    """Return whether two contents are equal: byte for byte, or as values in JSON, where editors change the layout."""
    return bool(json.loads(one) == json.loads(other)) if path.endswith(".json") else one == other


def _with_strangers(base: Any, like: Any) -> Any:
    """`base` with a key in each object and a member in each list of strings that `like` has."""
    edited = {"shutdown-timeout": KEYS["shutdown-timeout"], **base, "debug": KEYS["debug"]}
    for name, member in MEMBERS.items():
        if isinstance(like.get(name), list):
            edited[name] = [*base.get(name, []), member]
    if "log-opts" in like:
        edited["log-opts"] = {**base.get("log-opts", {}), "labels": "stranger"}
    return edited


def _strange(where: str) -> str:
    return f"# stranger {where}\n"


def _edited(line: str) -> str:
    return f"{line.rstrip(chr(10))} # edited by a stranger\n"


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(lines).encode()
