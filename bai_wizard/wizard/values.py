"""Between the texts that people type and the values of the answers file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from bai_wizard.wizard.shapes import Shape

NUMBER = re.compile(r"[+-]?[0-9]{1,19}")


def from_text(shape: Shape, text: str) -> Any:
    """The value of one line; a text that is no number stays a text, so that the reason can be told."""
    text = text.strip()
    if not text and shape.optional:
        return None
    if shape.numbers and NUMBER.fullmatch(text):
        return int(text)
    return text


def to_text(value: Any) -> str:
    """One value as a line; absent is empty."""
    return "" if value is None else str(value)


def from_lines(shape: Shape, text: str) -> Any:
    """A list, an item a line, or a table, `key = value` a line; empty lines are nobody's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if shape.sort != "pairs":
        return [int(line) if shape.numbers and NUMBER.fullmatch(line) else line for line in lines]
    pairs: dict[str, Any] = {}
    for line in lines:
        key, _, value = line.partition("=")
        value = value.strip()
        pairs[key.strip()] = int(value) if shape.numbers and NUMBER.fullmatch(value) else value
    return pairs


def to_lines(value: Any) -> str:
    """The inverse of `from_lines`."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {item}" for key, item in value.items())
    return "\n".join(str(item) for item in value or ())


def plain_default(shape: Shape) -> Any:
    """The field's default as plain values; None where there is none or it must be given."""
    return None if shape.note.required else plain(shape.note.default)


def plain(value: Any) -> Any:
    """Settings as plain values of the answers file."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", context={"reveal": True}, exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def in_one_line(value: Any) -> str:
    """A row's values for a list: what tells it from the others, joined by blanks."""
    if isinstance(value, Mapping):
        parts = []
        for key, item in value.items():
            if item in (None, "", [], {}, False):
                continue
            parts.append(key if item is True else in_one_line(item))
        return "  ".join(parts)
    if isinstance(value, list | tuple):
        return " ".join(in_one_line(item) for item in value)
    return str(value)
