"""A written answers file says the same when it is read, and helps with every field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bai_wizard.answers.load import load, loads
from bai_wizard.answers.save import answers_text, render
from bai_wizard.answers.validate import validate
from bai_wizard.pages import TABLES, settings_of
from bai_wizard.pages.fields import SettingsTable, notes
from tests.unit.answers.paths import GOOD
from tests.unit.answers.strategies import HASH, settings_tables


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_saved_then_loaded_gives_the_same_settings(table: str, data: st.DataObject) -> None:
    wanted: SettingsTable = data.draw(settings_tables(table))
    answers = loads(render({table: wanted}), "saved.toml", "h")
    assert dict(answers.tables) == {table: wanted}


@pytest.mark.parametrize("name", ["full", "minimal", "empty"])
def test_the_good_examples_survive(name: str) -> None:
    answers = load(str(GOOD / f"{name}.toml"), "h")
    again = loads(render(answers.tables), "saved.toml", "h")
    assert dict(again.tables) == dict(answers.tables)
    assert render(again.tables) == render(answers.tables)


def test_a_hash_is_saved_because_the_file_would_be_useless_without() -> None:
    wanted, _ = validate("account", {"password_hash": HASH})
    assert wanted is not None
    assert dict(loads(render({"account": wanted}), "s", "h").tables) == {"account": wanted}


def test_the_example_asks_for_nothing() -> None:
    assert loads(answers_text(), "example.toml", "h").tables == {}


def uncommented(text: str) -> str:
    """The example with every setting switched on that can stand as it is."""
    left_out = (
        "#password",
        "#authorized_keys",
        "#[[override",
        '#hosts = ["bai',
        "#[override",
        '#roles = ["compute"]',
    )
    lines = []
    for line in text.splitlines():
        switched = line[1:] if line.startswith("#") and not line.startswith(("# ", *left_out)) else line
        lines.append(
            'password = { env = "PW" }' if line.startswith("#password =") else "" if switched == "#" else switched
        )
    return "\n".join(lines)


def test_the_example_with_everything_switched_on_is_valid_and_is_the_default() -> None:
    answers = loads(uncommented(answers_text()), "example.toml", "h")
    assert tuple(answers.tables) == TABLES
    dumped = {name: table.model_dump(exclude_defaults=True) for name, table in answers.tables.items()}
    changed = {f"{name}.{key}" for name, values in dumped.items() for key in values}
    assert changed == {"account.password", "python.venvs", "accelerators.nvidia"}


def models_in(hint: Any, found: dict[str, Any]) -> None:
    from bai_wizard.answers.shape import member_models

    for name in hint.model_fields:
        for model in member_models(hint, name).values():
            if model.__name__ not in found:
                found[model.__name__] = model
                models_in(model, found)


def all_models() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for table in TABLES:
        model = settings_of(table)
        found[model.__name__] = model
        models_in(model, found)
    return found


@pytest.mark.parametrize("name", all_models())
def test_every_field_has_a_help_that_is_shown(name: str) -> None:
    text = " ".join(answers_text().replace("\n#", " ").split())
    for note in notes(all_models()[name]):
        assert note.help.endswith("."), note
        assert 8 < len(note.help) <= 170, note
        assert note.help.count(". ") <= 2, "one or two sentences, and what the empty value means"
        assert " ".join(note.help.split()) in text, note.name
        for word, meaning in note.choices.items():
            assert f"{word}: {meaning}" in text


@pytest.mark.parametrize("table", TABLES)
def test_every_example_is_valid(table: str) -> None:
    for note in notes(settings_of(table)):
        if note.example is None or note.name in ("password_hash", "authorized_keys"):
            continue
        _, faults = validate(table, {note.name: note.example, "apply": False})
        assert not [fault for fault in faults if "needs" not in fault.reason and "only" not in fault.reason], (
            note.name
        )
