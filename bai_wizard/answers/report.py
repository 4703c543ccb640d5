"""What `check` says about answers that are in order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bai_wizard.answers.mask import masked_urls
from bai_wizard.answers.model import Answers, dotted
from bai_wizard.answers.positions import Path
from bai_wizard.core.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator


def report(answers: Answers) -> str:
    """Which tables apply to the node, and each written value with the place it came from."""
    lines = [f"{answers.file} is in order. For {answers.host} it asks for:"]
    for table, settings in answers.tables.items():
        lines.append(f"  [{table}]" + ("" if settings.apply else "  only as context (apply = false)"))
    if not answers.tables:
        lines.append("  nothing: no table is present")
    for layer in answers.overrides:
        lines.append(f"Override for {', '.join(layer.hosts)} is laid over it ({answers.origin_of(layer)}).")
    rows = list(values(answers))
    if rows:
        lines.append("Values that are written; all others have their defaults:")
        width = min(max(len(row[0]) for row in rows), 60)
        lines += [f"  {text:<{width}}  {origin}" for text, origin in rows]
    return "\n".join(lines) + "\n"


def values(answers: Answers) -> Iterator[tuple[str, str]]:
    """`key = value` and origin of every written value; no secret among them."""
    for path, value in _written(answers.plain):
        yield f"{dotted(path)} = {shown(path, value)}", answers.origin(path)


def _written(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and path[-1:] != ("password",):
        for key, inner in value.items():
            yield from _written(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for place, inner in enumerate(value):
            yield from _written(inner, (*path, place))
    elif len(path) > 1:
        yield path, value


def shown(path: Path, value: Any) -> str:
    """A value as TOML has it, on one line; hashes and passwords in addresses are masked."""
    if path[-1:] == ("password_hash",):
        return MASK
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {shown((*path, key), item)}" for key, item in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(shown(path, item) for item in value) + "]"
    if isinstance(value, bool | str):
        return masked_urls(json.dumps(value, ensure_ascii=False))
    return str(value)
