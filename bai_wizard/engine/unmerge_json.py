"""Take our own values out of a JSON file that others have edited, even if it is no longer valid JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from bai_wizard.engine.unmerge_text import Undone
from bai_wizard.steps.json_merge import JsonNode, Path, parse_node

# Maximum number of single changes to undo; no configuration file exceeds it.
MAX_CHANGES = 2000

_NOTHING: Any = object()


def undo_json(before: bytes | None, after: bytes, now: bytes, *, force: bool = False) -> Undone:
    """Like `undo_content`.

    A document that has become invalid is kept; with `force`, our members are removed from it.
    """
    try:
        old = _parse(before)
        new = _parse(after)
    except ValueError as error:
        return Undone(now, (f"the previous content is not valid JSON: {error}",))
    text = now.decode("utf-8", "surrogateescape")
    try:
        existing = _parse(now)
    except ValueError as error:
        reason = f"it is no longer valid JSON: {error}"
        is_text = b"\0" not in now and not now.startswith((b"\xff\xfe", b"\xfe\xff"))
        return _undo_broken(before, old, new, text) if force and is_text else Undone(now, (reason,))
    kept: list[str] = []
    wanted = _undo(old.value if old else _NOTHING, new.value if new else _NOTHING,
                   existing.value if existing else _NOTHING, (), kept, force=force)  # fmt: skip
    if wanted is _NOTHING or (wanted in ({}, []) and (before is None or not before.strip())):
        return Undone(before if before is None or not before.strip() else now, tuple(kept))
    if existing is None:
        return Undone(now, tuple(kept))
    raw = (before or b"").decode("utf-8", "surrogateescape")
    try:
        text = _edited(text, wanted, raw, old)
    except _TooMany:
        return Undone(now, ("too many values differ to identify the values of the wizard",))
    return Undone(text.encode("utf-8", "surrogateescape"), tuple(kept))


def _undo_broken(before: bytes | None, old: JsonNode | None, new: JsonNode | None, text: str) -> Undone:
    """Remove our members; all other bytes stay."""
    broken = BrokenJson(text)
    broken.undo(old.value if old else _NOTHING, new.value if new else _NOTHING, _NOTHING)
    is_ours = (before is None or not before.strip()) and not broken.text.strip(" \t\r\n{}[],\ufeff")
    content = before if is_ours else broken.text.encode("utf-8", "surrogateescape")
    return Undone(content, tuple(broken.kept))


def _undo(old: Any, new: Any, existing: Any, path: Path, kept: list[str], *, force: bool) -> Any:
    """Return the value without our change; `_NOTHING` if none is left."""
    if _same(old, new) or existing is _NOTHING or _same(existing, old):
        return existing
    if _same(existing, new):
        return old
    if isinstance(new, dict) and isinstance(existing, dict) and (old is _NOTHING or isinstance(old, dict)):
        known = {} if old is _NOTHING else old
        result = {}
        for name in [*existing, *(name for name in known if name not in existing and name not in new)]:
            value = _undo(known.get(name, _NOTHING), new.get(name, _NOTHING), existing.get(name, _NOTHING),
                          (*path, name), kept, force=force)  # fmt: skip
            if name not in existing and name not in new:
                value = known[name]
            if value is not _NOTHING:
                result[name] = value
        return _NOTHING if old is _NOTHING and not result else result
    if isinstance(new, list) and isinstance(existing, list) and (old is _NOTHING or isinstance(old, list)):
        known_list = [] if old is _NOTHING else old
        items = _undone_list(known_list, new, existing, path, kept, force=force)
        return _NOTHING if old is _NOTHING and not items else items
    if force:
        return old
    kept.append(f"{'.'.join(str(name) for name in path) or 'the document'} was edited: {_short(existing)}")
    return existing


def _undone_list(
    old: list[Any], new: list[Any], existing: list[Any], path: Path, kept: list[str], *, force: bool
) -> list[Any]:
    result = list(existing)
    theirs = _without(existing, new)
    for item in _without(new, old):
        edited = next((other for other in theirs if _is_edited(item, other)), None)
        if any(_same(item, other) for other in result):
            _drop(result, item)
        elif edited is not None and force:
            _drop(result, edited)
        elif edited is not None:
            kept.append(f"a member of {'.'.join(map(str, path))} was edited: {_short(edited)}")
    for item in _without(old, new):
        if not any(_same(item, other) for other in theirs):
            above = next((at for at in range(old.index(item) - 1, -1, -1) if old[at] in result), None)
            result.insert(result.index(old[above]) + 1 if above is not None else 0, item)
    return result


def _is_edited(ours: Any, theirs: Any) -> bool:
    """Whether an object of others is one of ours with edited values: they have a value in common."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return False
    return any(name in theirs and _same(value, theirs[name]) for name, value in ours.items())


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    result = list(items)
    for item in others:
        _drop(result, item)
    return result


def _drop(items: list[Any], item: Any) -> None:
    at = next((index for index, other in enumerate(items) if _same(item, other)), None)
    if at is not None:
        del items[at]


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    if one is _NOTHING or other is _NOTHING:
        return one is other
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


class _TooMany(Exception):
    """More changes than any configuration file has."""


def _edited(text: str, wanted: Any, raw: str, old: JsonNode | None) -> str:
    """Edit `text` so that it means `wanted`, one difference at a time. Restored values keep their old spelling."""
    for _ in range(MAX_CHANGES):
        root = parse_node(text)
        result = _difference(root, wanted, ())
        if result is None:
            return text
        path, value = result
        parent = root.get(path[:-1])
        node = root.get(path)
        if node is not None and value is not _NOTHING:
            text = text[: node.start] + _spelled(path, value, raw, old) + text[node.end :]
        elif parent is not None and node is not None:
            text = _removed(text, parent, path[-1])
        elif parent is not None:
            text = _inserted(text, parent, path, value, _spelled(path, value, raw, old), old)
    raise _TooMany


def _difference(node: JsonNode, wanted: Any, path: Path) -> tuple[Path, Any] | None:
    """Return the first position where the text differs from `wanted`, and the value that belongs there."""
    if _same(node.value, wanted):
        return None
    if isinstance(node.value, dict) and isinstance(wanted, dict):
        for _, name, item in node.items:
            if name not in wanted:
                return (*path, name), _NOTHING
            if result := _difference(item, wanted[name], (*path, name)):
                return result
        missing = next(name for name in wanted if name not in node.value)
        return (*path, missing), wanted[missing]
    if isinstance(node.value, list) and isinstance(wanted, list):
        for at, (_, name, item) in enumerate(node.items):
            if at < len(wanted) and _same(item.value, wanted[at]):
                continue
            # An extra member, a missing member, or a different one.
            if len(node.value) > len(wanted) or not any(_same(item.value, other) for other in wanted[at:]):
                return (*path, name), _NOTHING
            return (*path, -1 - at), wanted[at]
        return (*path, -1 - len(node.value)), wanted[len(node.value)]
    return path, wanted


def _spelled(path: Path, value: Any, raw: str, old: JsonNode | None) -> str:
    """Return the value as spelled in the old document, if it was there."""
    node = old.get(path) if old is not None else None
    if node is None and old is not None and path and isinstance(path[-1], int):
        above = old.get(path[:-1])
        node = next((item for _, _, item in above.items if _same(item.value, value)), None) if above else None
    if node is not None and _same(node.value, value):
        return raw[node.start : node.end]
    return json.dumps(value, ensure_ascii=False)


def _removed(text: str, parent: JsonNode, name: str | int) -> str:
    at = next(index for index, item in enumerate(parent.items) if item[1] == name)
    start, end = parent.items[at][0], parent.items[at][2].end
    if len(parent.items) == 1:
        return text[: parent.start + 1] + text[parent.end - 1 :]
    if at + 1 < len(parent.items):
        return text[:start] + text[parent.items[at + 1][0] :]
    return text[: parent.items[at - 1][2].end] + text[end:]


def _inserted(text: str, parent: JsonNode, path: Path, value: Any, spelled: str, old: JsonNode | None) -> str:
    """Insert a member at its position in the old document, formatted like its neighbors."""
    name = path[-1]
    if isinstance(name, int):
        at, member = -1 - name, spelled
    else:
        member = f"{json.dumps(name, ensure_ascii=False)}: {spelled}"
        above = old.get(path[:-1]) if old is not None else None
        order = [key for _, key, _ in above.items] if above else []
        earlier = order[: order.index(name)] if name in order else [key for _, key, _ in parent.items]
        at = 1 + max((index for index, item in enumerate(parent.items) if item[1] in earlier), default=-1)
    if not parent.items:
        return text[: parent.start + 1] + member + text[parent.end - 1 :]
    lead = text[parent.start + 1 : parent.items[0][0]]
    if at < len(parent.items):
        index = parent.items[at][0]
        return text[:index] + member + "," + (lead or " ") + text[index:]
    index = parent.items[-1][2].end
    return text[:index] + "," + (lead or " ") + member + text[index:]


def _parse(data: bytes | None) -> JsonNode | None:
    """Parse the document; None for empty text. Raises ValueError."""
    if data is None or not data.strip():
        return None
    return parse_node(data.decode("utf-8", "surrogateescape"))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if value is not _NOTHING else "removed"
    return text if len(text) <= 100 else text[:100] + "…"


# Undo in a JSON document that others have made invalid: our members are found by their text.
#
# A member of ours is removed if its tokens occur exactly once, ignoring whitespace between them. All other bytes are
# preserved. Anything that cannot be found in this way is kept and reported.

# Documents with more tokens in one member, or more members of ours, are not searched.
MAX_TOKENS = 5000
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+')
_BLANKS = r"[ \t\r\n]*"
_END = r"(?![^\s,\]}/#])"
_COMMENT = re.compile(r"[ \t]*(?://|#|/?\*)")


class BrokenJson:
    """The text of an invalid document. `kept` lists our parts that could not be removed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kept: list[str] = []

    def undo(self, old: Any, new: Any, nothing: Any, path: tuple[str, ...] = ()) -> None:
        """Undo the change from the value `old` to `new` below the key `path`; `nothing` means no value."""
        if isinstance(new, dict) and (old is nothing or isinstance(old, dict)):
            if old is nothing and path and (self._remove(path[-1], new) or not self._has(path[-1])):
                return
            known = {} if old is nothing else old
            for name in (*new, *(name for name in known if name not in new)):
                one, other = known.get(name, nothing), new.get(name, nothing)
                if one is nothing or other is nothing or json.dumps(one) != json.dumps(other):
                    self.undo(one, other, nothing, (*path, name))
            if old is nothing and path and not self._remove(path[-1], {}):
                self.kept.append(f"{'.'.join(path)} is kept with its content")
        elif isinstance(new, list) and (old is nothing or isinstance(old, list)):
            self._undo_list([] if old is nothing else old, new, path, is_new=old is nothing)
        elif new is nothing:
            if not self._has(path[-1]):
                self.kept.append(f"{'.'.join(path)} is not restored")
        elif path and self._has(path[-1]) and not self._remove(path[-1], new, None if old is nothing else old):
            self.kept.append(f"{'.'.join(path)} was edited, or occurs more than once")

    def _undo_list(self, old: list[Any], new: list[Any], path: tuple[str, ...], *, is_new: bool) -> None:
        if not path or not self._has(path[-1]) or (is_new and self._remove(path[-1], new)):
            return
        start = self._paths(_pattern(path[-1]) + _BLANKS + ":" + _BLANKS + r"\[")
        for item in new:
            if item in old:
                continue
            end = self.text.find("]", start[0][1]) if len(start) == 1 else -1
            result = self._paths(_pattern(item) + _END, *start[0][1:], end) if end >= 0 else []
            if len(result) == 1:
                self._cut(*result[0])
            elif result or end < 0:
                self.kept.append(f"a member of {'.'.join(path)} is ambiguous: {json.dumps(item)[:100]}")
        if any(item not in new for item in old):
            self.kept.append(f"a member of {'.'.join(path)} is not restored")
        if is_new and not self._remove(path[-1], []):
            self.kept.append(f"{'.'.join(path)} is kept with its content")

    def _has(self, name: str) -> bool:
        return bool(self._paths(_pattern(name) + _BLANKS + ":"))

    def _remove(self, name: str, value: Any, instead: Any = None) -> bool:
        """Remove a member, or give it another value, if it occurs exactly once with this value."""
        head = _pattern(name) + _BLANKS + ":" + _BLANKS
        result = self._paths(head + _pattern(value) + _END)
        if len(result) != 1:
            return False
        start, end = result[0]
        if instead is None:
            self._cut(start, end)
        else:
            match = re.compile(head).match(self.text, start)
            begin = match.end() if match else start
            self.text = self.text[:begin] + json.dumps(instead, ensure_ascii=False) + self.text[end:]
        return True

    def _paths(self, pattern: str, begin: int = 0, end: int | None = None) -> list[tuple[int, int]]:
        """Return where a pattern matches, except in lines that people would read as comments."""
        matches = re.compile(pattern).finditer(self.text, begin, len(self.text) if end is None else end)
        return [match.span() for match in matches if not self._is_in_comment(match.start())]

    def _is_in_comment(self, at: int) -> bool:
        return _COMMENT.match(self.text, self.text.rfind("\n", 0, at) + 1, at) is not None

    def _cut(self, start: int, end: int) -> None:
        """Remove a member with its comma, and its line if nothing else is on it."""
        text = self.text
        after = re.compile(r"[ \t\r\n]*,").match(text, end)
        if after:
            end = after.end()
        elif (rest := text[end:].lstrip()[:1]) in ("}", "]") and (before := text[:start].rstrip()).endswith(","):
            # The preceding comma separated the two; before a bracket it would be another syntax error.
            text = before[:-1] + text[len(before) : start] + text[start:]
            start, end = start - 1, end - 1
            assert rest
        line, following = text.rfind("\n", 0, start) + 1, re.compile(r"[ \t\r]*\n").match(text, end)
        if following and not text[line:start].strip():
            start, end = line, following.end()
        elif blanks := re.compile(r"[ \t]+").match(text, end):
            end = blanks.end()
        self.text = text[:start] + text[end:]


def _pattern(value: Any) -> str:
    """Match the tokens of a JSON value in either spelling of its characters, with any whitespace between them."""
    spellings = {json.dumps(value), json.dumps(value, ensure_ascii=False)}
    result = []
    for spelling in sorted(spellings):
        tokens = _TOKEN.findall(spelling)
        if len(tokens) > MAX_TOKENS:
            return r"(?!)"
        result.append(_BLANKS.join(re.escape(token) for token in tokens))
    return f"(?:{'|'.join(result)})"
