"""JSON text with positions: change some keys of a file and preserve every other byte."""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Struct, field

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.parse import MAX_LEVELS, is_deep

_SPACE = re.compile(r"[ \t\r\n]*")
DEFAULT_INDENT = "  "
Path = tuple[str | int, ...]


class NotJson(StepBlocked):
    """The text is not a JSON object that may be changed; the message says where and why."""


def parse(text: str, path: str) -> dict[str, Any]:
    """Parse the object in `text`. Raises NotJson with line and column; empty text is an empty object."""
    if text.startswith("\ufeff"):
        raise NotJson(f"{path}:1:1 starts with a byte order mark, which Docker rejects: save the file without it")
    if not text.strip():
        return {}
    try:
        result = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except json.JSONDecodeError as error:
        at, hint = _hint(text, error.pos)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise NotJson(
            f"{path}:{line}:{column} is not valid JSON: {hint or error.msg.lower()}. It was not changed;"
            " correct that line, then try again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise NotJson(f"{path} has a number that is too long, or is nested too deep. It was not changed") from error
    if not isinstance(result, dict):
        raise NotJson(f"{path} does not contain a JSON object")
    if is_deep(result):
        raise NotJson(f"{path} is nested too deep. It was not changed")
    return result


def _once(pairs: list[tuple[str, Any]], path: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise NotJson(
                f"{path} has the key {name!r} twice, and only the last one counts: remove one, then try again"
            )
        result[name] = value
    return result


def _hint(text: str, at: int) -> tuple[int, str]:
    """Return the usual mistake and its position: CPython before 3.13 points after a comma, later versions at it."""
    before = text[:at].rstrip()
    if text[at : at + 1] in ("/", "#"):
        return at, "a comment, which JSON does not allow"
    if text[at : at + 1] in ("}", "]") and before.endswith(","):
        return len(before) - 1, "a comma before the end of a list or object"
    if text[at : at + 1] == "," and text[at + 1 :].lstrip()[:1] in ("}", "]"):
        return at, "a comma before the end of a list or object"
    if text[at : at + 1] in ("\u201c", "\u201d", "'"):
        return at, "a quotation mark other than the straight double one"
    return at, ""


def merged(old: Any, wanted: Any) -> Any:
    """Merge `wanted` into `old`: objects key by key, lists by appending missing items; other values are replaced."""
    if isinstance(old, dict) and isinstance(wanted, dict):
        laid = {key: merged(old[key], value) if key in old else value for key, value in wanted.items()}
        return {**old, **laid}
    if isinstance(old, list) and isinstance(wanted, list):
        return [*old, *(item for item in wanted if item not in old)]
    return wanted


def edit(text: str, wanted: dict[str, Any], path: str, *, replace: tuple[str, ...] = ()) -> str:
    """Return `text` with `wanted` merged in. Keys in `replace` get the whole wanted value. Raises NotJson."""
    old = parse(text, path)
    new = {
        key: value if key in replace or key not in old else merged(old[key], value) for key, value in wanted.items()
    }
    if all(key in old and old[key] == value for key, value in new.items()):
        return text
    if not old:
        return json.dumps(new, indent=DEFAULT_INDENT, ensure_ascii=False) + "\n"
    indent = _indent(text) if "\n" in text.strip() else ""
    for _, key, item in reversed(parse_node(text).items):
        if key in new and old[key] != new[key]:
            text = text[: item.start] + _dumped(new[key], indent) + text[item.end :]
    added = [key for key in new if key not in old]
    if added:
        last = parse_node(text).items[-1][2].end
        separator = ",\n" + indent if indent else ", "
        tail = "".join(
            f"{separator}{json.dumps(key, ensure_ascii=False)}: {_dumped(new[key], indent)}" for key in added
        )
        text = text[:last] + tail + text[last:]
    return text


def _indent(text: str) -> str:
    """Return the indentation of the file's first key."""
    match = re.search(r"\{[ \t]*\r?\n([ \t]+)\"", text)
    return match[1] if match else DEFAULT_INDENT


def _dumped(value: Any, indent: str) -> str:
    plain = isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    if plain or not indent:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", "\n" + indent)


class JsonNode(Struct):
    """A value and its position in the text. `items` are the members, each with the position where its key begins."""

    start: int
    end: int
    value: Any
    items: list[tuple[int, str | int, JsonNode]] = field(default_factory=list)

    def get(self, path: Path) -> JsonNode | None:
        """Return the value below `path`."""
        node: JsonNode | None = self
        for name in path:
            node = next((item for _, key, item in node.items if key == name), None) if node else None
        return node


def parse_node(text: str) -> JsonNode:
    """Parse the document with positions. Raises ValueError, also for a duplicate key."""
    at = _after_space(text, 1 if text.startswith("\ufeff") else 0)
    node = _value(text, at, 0)
    if _after_space(text, node.end) != len(text):
        raise ValueError(f"unexpected data at {node.end}")
    return node


def _value(text: str, at: int, depth: int) -> JsonNode:
    if depth > MAX_LEVELS:
        raise ValueError("nested too deep")
    opening = text[at : at + 1]
    if opening not in ("{", "["):
        value, end = json.JSONDecoder().raw_decode(text, at)
        return JsonNode(at, end, value)
    is_object, closing = opening == "{", "}" if opening == "{" else "]"
    items: list[tuple[int, str | int, JsonNode]] = []
    names: set[str | int] = set()
    index = _after_space(text, at + 1)
    while text[index : index + 1] != closing:
        if items:
            if text[index : index + 1] != ",":
                raise ValueError(f"a comma is missing at {index}")
            index = _after_space(text, index + 1)
        begun, name = index, len(items)
        if is_object:
            if text[index : index + 1] != '"':
                raise ValueError(f"a key is missing at {index}")
            name, index = json.JSONDecoder().raw_decode(text, index)
            index = _after_space(text, index)
            if text[index : index + 1] != ":":
                raise ValueError(f"a colon is missing at {index}")
            index = _after_space(text, index + 1)
            if name in names:
                raise ValueError(f"the key {name!r} occurs twice")
            names.add(name)
        node = _value(text, index, depth + 1)
        items.append((begun, name, node))
        index = _after_space(text, node.end)
    values: Any = {key: item.value for _, key, item in items} if is_object else [item.value for _, _, item in items]
    return JsonNode(at, index + 1, values, items)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
