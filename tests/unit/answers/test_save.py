"""A saved answers file is read back with the same meaning and documents every field."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bai_wizard.answers.load import load, loads
from bai_wizard.answers.save import answers_text, render
from bai_wizard.answers.validate import validate
from bai_wizard.pages import TABLES, settings_of
from bai_wizard.pages.fields import SettingsTable, dump, hints_of, parts_of
from tests.sampling import is_soak
from tests.unit.answers.paths import GOOD
from tests.unit.answers.strategies import HASH, settings_tables


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
@settings(max_examples=30 if is_soak() else 10, deadline=None, suppress_health_check=list(HealthCheck))
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
    dumped = {name: dump(table) for name, table in answers.tables.items()}
    changed = {f"{name}.{key}" for name, values in dumped.items() for key in values}
    assert changed == {"account.password", "python.venvs", "accelerators.nvidia"}


def models_in(hint: Any, result: dict[str, Any]) -> None:
    for inner in hints_of(hint).values():
        for model in parts_of(inner).values():
            if model.__name__ not in result:
                result[model.__name__] = model
                models_in(model, result)


def all_models() -> dict[str, Any]:
    result: dict[str, Any] = {}
    for table in TABLES:
        model = settings_of(table)
        result[model.__name__] = model
        models_in(model, result)
    return result


@pytest.mark.parametrize("name", all_models())
def test_every_field_has_a_help_that_is_shown(name: str) -> None:
    text = " ".join(answers_text().replace("\n#", " ").split())
    for note in all_models()[name].infos.values():
        assert note.help.endswith("."), note
        assert 8 < len(note.help) <= 170, note
        assert note.help.count(". ") <= 2, "one or two sentences, and what the empty value means"
        assert " ".join(note.help.split()) in text, note.name
        for word, meaning in note.choices.items():
            assert f"{word}: {meaning}" in text


@pytest.mark.parametrize("table", TABLES)
def test_every_example_is_valid(table: str) -> None:
    for note in settings_of(table).infos.values():
        if note.example is None or note.name in ("password_hash", "authorized_keys"):
            continue
        _, faults = validate(table, {note.name: note.example, "apply": False})
        assert not [fault for fault in faults if "needs" not in fault.reason and "only" not in fault.reason], (
            note.name
        )


def test_the_example_of_an_override_is_complete() -> None:
    """Without its comment signs it is what `[[override]]` needs."""
    lines = answers_text().splitlines()
    example = [line.removeprefix("#") for line in lines[lines.index("#[[override]]") :]]
    assert tomllib.loads("\n".join(example)) == {"override": [{"hosts": ["bai-a*"], "node": {"roles": ["compute"]}}]}
