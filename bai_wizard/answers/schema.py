"""The JSON Schema of the answers, composed from the settings of all tables; editors validate and complete with it."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal

from bai_wizard import pages
from bai_wizard.answers.model import VERSION
from bai_wizard.pages.fields import FieldInfo, SettingsPart, dump, hints_of

_TYPES = {int: "integer", str: "string", bool: "boolean"}
COMMITTED = Path(__file__).with_name(f"schema-v{VERSION}.json")


def schema_text() -> str:
    """The schema as `bai-wizard schema` prints it."""
    return COMMITTED.read_text(encoding="utf-8")


def compose() -> str:
    """The schema regenerated from the settings; the committed file has exactly this content."""
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    tables = {table: _of(pages.settings_of(table), definitions) for table in pages.TABLES}
    hosts = {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "description": "Host names or patterns such as bai-a*, compared with the short and the full name.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answers of bai-wizard",
        "description": "The desired state of a node for Backend.AI. Tables that are present are applied.",
        "type": "object",
        "additionalProperties": False,
        "required": ["version"],
        "properties": {
            "version": {"const": VERSION, "description": "The version of this format."},
            **tables,
            "override": {
                "type": "array",
                "description": "Tables that are merged over the others on the nodes whose names match.",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["hosts"],
                    "properties": {"hosts": hosts, **tables},
                },
            },
        },
        "$defs": dict(sorted(definitions.items())),
    }


def _of(hint: Any, definitions: dict[str, Any], limits: Mapping[str, int] = MappingProxyType({})) -> dict[str, Any]:
    """The schema of a type; settings are added to `definitions`. TOML has no null, so nothing allows it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        (check,) = arguments[1:]
        return {**check.schema, **_limits(limits, maxLength="max_length")}
    if origin in (typing.Union, UnionType):
        members = [_of(member, definitions, limits) for member in arguments if member is not NoneType]
        return members[0] if len(members) == 1 else {"oneOf": members}
    if origin is Literal:
        first, *more = arguments
        words = {"enum": [first, *more]} if more else {"const": first}
        return {**words, "type": _TYPES[type(first)]}
    if origin is tuple:
        items = {"items": _of(arguments[0], definitions), "type": "array"}
        return {**items, **_limits(limits, minItems="min_length", maxItems="max_length")}
    if origin is dict:
        key = _of(arguments[0], definitions)
        return {
            "patternProperties": {key["pattern"]: _of(arguments[1], definitions)},
            "propertyNames": {"maxLength": key["maxLength"]},
            "type": "object",
        }
    if issubclass(hint, SettingsPart):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = _definition(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {"type": _TYPES[hint], **_limits(limits, minimum="ge", maximum="le")}


def _limits(limits: Mapping[str, int], **keys: str) -> dict[str, int]:
    return {word: limits[key] for word, key in keys.items() if key in limits}


def _definition(model: type[SettingsPart], definitions: dict[str, Any]) -> dict[str, Any]:
    hints = hints_of(model)
    required = [name for name, info in model.infos.items() if info.required]
    return {
        "additionalProperties": False,
        "description": inspect.cleandoc(model.__doc__ or ""),
        "properties": {
            name: dict(sorted({**_of(hints[name], definitions, info.limits), **_metadata(info)}.items()))
            for name, info in model.infos.items()
        },
        **({"required": required} if required else {}),
        "title": model.__name__,
        "type": "object",
    }


def _metadata(info: FieldInfo) -> dict[str, Any]:
    default = info.default
    # A table is complete by the defaults of its own fields.
    has_default = (
        default is not None and not isinstance(default, SettingsPart) and not (default and type(default) is dict)
    )
    return {
        "title": info.label,
        "description": info.help,
        **({"default": dump(default)} if has_default else {}),
        **({"examples": [info.example]} if info.example is not None else {}),
        **({"x-unit": info.unit} if info.unit else {}),
        **({"x-choices": dict(info.choices)} if info.choices else {}),
    }


if __name__ == "__main__":
    COMMITTED.write_text(compose(), encoding="utf-8")
