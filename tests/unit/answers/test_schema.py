"""The committed schema matches the models and their help texts."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.answers.schema import COMMITTED, compose, schema_text
from bai_wizard.pages import TABLES, settings_of

SCHEMA: dict[str, Any] = json.loads(schema_text())


def test_committed_is_composed() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == compose(), "run: python -m bai_wizard.answers.schema"


def test_every_table_and_field_is_described() -> None:
    assert set(SCHEMA["properties"]) == {"version", "override", *TABLES}
    for table in TABLES:
        definition = SCHEMA["$defs"][SCHEMA["properties"][table]["$ref"].rpartition("/")[2]]
        assert definition["additionalProperties"] is False
        for note in settings_of(table).infos.values():
            assert definition["properties"][note.name]["description"] == note.help


def test_the_schema_has_no_null_because_toml_has_none() -> None:
    assert '"null"' not in schema_text()


def test_overrides_take_the_same_tables() -> None:
    item = SCHEMA["properties"]["override"]["items"]
    assert set(item["properties"]) == {"hosts", *TABLES}
    assert item["required"] == ["hosts"]
