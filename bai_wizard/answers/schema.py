"""The JSON Schema of the answers, composed from the settings of all tables; editors check and complete with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bai_wizard import pages
from bai_wizard.answers.model import VERSION

COMMITTED = Path(__file__).with_name(f"schema-v{VERSION}.json")


def schema_text() -> str:
    """The schema as `bai-wizard schema` prints it."""
    return COMMITTED.read_text(encoding="utf-8")


def compose() -> str:
    """The schema made anew from the models; the committed file holds exactly this."""
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    from pydantic.json_schema import models_json_schema

    models = {table: pages.settings_of(table) for table in pages.TABLES}
    refs, made = models_json_schema(
        [(model, "validation") for model in models.values()], ref_template="#/$defs/{model}"
    )
    tables = {table: _plain(refs[model, "validation"]) for table, model in models.items()}
    hosts = {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "description": "Host names or patterns such as bai-a*, compared with the short and the full name.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answers of bai-wizard",
        "description": "What a node for Backend.AI shall be. A table that is present is brought about.",
        "type": "object",
        "additionalProperties": False,
        "required": ["version"],
        "properties": {
            "version": {"const": VERSION, "description": "The version of this format."},
            **tables,
            "override": {
                "type": "array",
                "description": "Tables that are laid over the others on the nodes whose names match.",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["hosts"],
                    "properties": {"hosts": hosts, **tables},
                },
            },
        },
        "$defs": _plain(made["$defs"]),
    }


def _plain(value: Any) -> Any:
    """Without what TOML does not have: null, and alternatives that are left with one member."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    plain = {key: _plain(item) for key, item in value.items() if not (key == "default" and item is None)}
    several = plain.get("anyOf")
    if isinstance(several, list):
        kept = [item for item in several if item != {"type": "null"}]
        del plain["anyOf"]
        plain = {**kept[0], **plain} if len(kept) == 1 else {"anyOf": kept, **plain}
    return plain


if __name__ == "__main__":
    COMMITTED.write_text(compose(), encoding="utf-8")
