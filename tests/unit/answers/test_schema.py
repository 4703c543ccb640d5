"""The committed schema is the one of the models, with their helps."""

from __future__ import annotations

import json
from typing import Any

from bai_wizard.answers.schema import COMMITTED, compose, schema_text
from bai_wizard.pages import TABLES, settings_of
from bai_wizard.pages.fields import notes

SCHEMA: dict[str, Any] = json.loads(schema_text())


def test_committed_is_composed() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == compose(), "run: python -m bai_wizard.answers.schema"


def test_every_table_and_field_is_described() -> None:
    assert set(SCHEMA["properties"]) == {"version", "override", *TABLES}
    for table in TABLES:
        definition = SCHEMA["$defs"][SCHEMA["properties"][table]["$ref"].rpartition("/")[2]]
        assert definition["additionalProperties"] is False
        for note in notes(settings_of(table)):
            assert definition["properties"][note.name]["description"] == note.help


def test_there_is_no_null_which_toml_does_not_have() -> None:
    assert '"null"' not in schema_text()


def test_overrides_take_the_same_tables() -> None:
    item = SCHEMA["properties"]["override"]["items"]
    assert set(item["properties"]) == {"hosts", *TABLES}
    assert item["required"] == ["hosts"]
