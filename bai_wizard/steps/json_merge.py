"""Changes some keys of a JSON file and leaves every other byte where it is."""

from __future__ import annotations

import json
import re
from typing import Any

from bai_wizard.core.errors import StepBlocked

_SPACE = re.compile(r"[ \t\r\n]*")
DEFAULT_INDENT = "  "


class NotJson(StepBlocked):
    """The text is no JSON object that may be changed; the message says where and why."""


def parse(text: str, path: str) -> dict[str, Any]:
    """The object in `text`. Raises NotJson with line and column; empty text is an empty object."""
    if text.startswith("\ufeff"):
        raise NotJson(f"{path}:1:1 begins with a byte order mark, which Docker refuses: save the file without it")
    if not text.strip():
        return {}
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except json.JSONDecodeError as error:
        at, hint = _hint(text, error.pos)
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise NotJson(
            f"{path}:{line}:{column} is not valid JSON: {hint or error.msg.lower()}. It was not touched;"
            " correct that line, then repeat"
        ) from error
    if not isinstance(found, dict):
        raise NotJson(f"{path} holds no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]], path: str) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise NotJson(f"{path} has the key {twice!r} twice, and only the last one counts: take one out, then repeat")
    return dict(pairs)


def _hint(text: str, at: int) -> tuple[int, str]:
    """What people usually did there, and where: CPython before 3.13 points behind a comma, later ones at it."""
    before = text[:at].rstrip()
    if text[at : at + 1] in ("/", "#"):
        return at, "a comment, which JSON does not have"
    if text[at : at + 1] in ("}", "]") and before.endswith(","):
        return len(before) - 1, "a comma before the end of a list or object"
    if text[at : at + 1] == "," and text[at + 1 :].lstrip()[:1] in ("}", "]"):
        return at, "a comma before the end of a list or object"
    if text[at : at + 1] in ("\u201c", "\u201d", "'"):
        return at, "a quotation mark other than the straight double one"
    return at, ""


def merged(old: Any, wanted: Any) -> Any:
    """`wanted` laid over `old`: objects key by key, lists with what is missing appended, the rest replaced."""
    if isinstance(old, dict) and isinstance(wanted, dict):
        laid = {key: merged(old[key], value) if key in old else value for key, value in wanted.items()}
        return {**old, **laid}
    if isinstance(old, list) and isinstance(wanted, list):
        return [*old, *(item for item in wanted if item not in old)]
    return wanted


def edit(text: str, wanted: dict[str, Any], path: str, *, replace: tuple[str, ...] = ()) -> str:
    """`text` with `wanted` merged in. Keys in `replace` take the wanted value as a whole. Raises NotJson."""
    old = parse(text, path)
    new = {
        key: value if key in replace or key not in old else merged(old[key], value) for key, value in wanted.items()
    }
    if all(key in old and old[key] == value for key, value in new.items()):
        return text
    if not old:
        return json.dumps(new, indent=DEFAULT_INDENT, ensure_ascii=False) + "\n"
    indent = _indent(text) if "\n" in text.strip() else ""
    spans = _spans(text)
    for key in sorted(
        (key for key in new if key in spans and old[key] != new[key]), key=lambda name: -spans[name][0]
    ):
        start, end = spans[key]
        text = text[:start] + _dumped(new[key], indent) + text[end:]
    added = [key for key in new if key not in old]
    if added:
        last = max(end for _, end in _spans(text).values())
        separator = ",\n" + indent if indent else ", "
        tail = "".join(
            f"{separator}{json.dumps(key, ensure_ascii=False)}: {_dumped(new[key], indent)}" for key in added
        )
        text = text[:last] + tail + text[last:]
    return text


def _spans(text: str) -> dict[str, tuple[int, int]]:
    """Where each value of the outermost object begins and ends."""
    decoder = json.JSONDecoder()
    found: dict[str, tuple[int, int]] = {}
    at = text.index("{") + 1
    while True:
        at = _after_space(text, at)
        if text[at] == "}":
            return found
        if text[at] == ",":
            at = _after_space(text, at + 1)
        key, at = decoder.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)
        _, end = decoder.raw_decode(text, at)
        found[key] = (at, end)
        at = end


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _indent(text: str) -> str:
    """How the file indents its first key."""
    match = re.search(r"\{[ \t]*\r?\n([ \t]+)\"", text)
    return match[1] if match else DEFAULT_INDENT


def _dumped(value: Any, indent: str) -> str:
    plain = isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    if plain or not indent:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", "\n" + indent)
