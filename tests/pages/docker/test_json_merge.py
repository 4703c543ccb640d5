"""daemon.json is merged by key: the result is the merged object, and bytes outside our keys stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bai_wizard.steps.json_merge import NotJson, edit, merged, parse

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=5)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, OBJECTS, st.sampled_from([None, 1, 4, "\t"]), st.sampled_from([(", ", ": "), (" ,", ":")]))
def test_the_object_is_the_merged_one(
    old: dict[str, Any], wanted: dict[str, Any], indent: Any, separators: tuple[str, str]
) -> None:
    text = json.dumps(old, indent=indent, separators=separators, ensure_ascii=False)
    new = edit(text, wanted, "f")
    assert json.loads(new) == merged(old, wanted)
    assert edit(new, wanted, "f") == new


@settings(max_examples=200, deadline=None)
@given(OBJECTS, VALUES)
def test_a_new_key_leaves_every_old_byte(old: dict[str, Any], value: Any) -> None:
    if "ours" in old or not old:
        return
    text = json.dumps(old, indent=3, separators=("  ,", " :"), ensure_ascii=False)
    new = edit(text, {"ours": value}, "f")
    rest = text.rstrip("}").rstrip()
    assert new.startswith(rest)
    assert new.endswith(text[len(rest) :])


def test_lists_are_extended_and_keys_are_replaced_entirely() -> None:
    text = '{"insecure-registries": ["a:1"], "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]}'
    wanted = {"insecure-registries": ["b:2", "a:1"], "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}]}
    new = json.loads(edit(text, wanted, "f", replace=("default-address-pools",)))
    assert new["insecure-registries"] == ["a:1", "b:2"]
    assert new["default-address-pools"] == wanted["default-address-pools"]


@pytest.mark.parametrize(
    "text, location, output",
    [
        ('{\n "a": 1,\n}\n', "f:2:8", "comma"),
        ('{"a": [1,]}', "f:1:9", "comma"),
        ('{\n // x\n "a": 1}', "f:2:2", "comment"),
        ('{"a": 1 # c\n}', "f:1:9", "comment"),
        ("{'a': 1}", "f:1:2", "quotation mark"),
        ('{"a": “x”}', "f:1:7", "quotation mark"),
        ('{"a": 1 "b": 2}', "f:1:9", "delimiter"),
        ("\ufeff{}", "f:1:1", "byte order mark"),
        ('{"a": 1, "a": 2}', "f", "'a' twice"),
        ('{"x": {"a": 1, "a": 2}}', "f", "'a' twice"),
        ("[1]", "f", "not contain a JSON object"),
        ("nonsense", "f:1:1", "not valid JSON"),
    ],
)
def test_values_that_cannot_be_changed_are_reported_with_their_path(text: str, location: str, output: str) -> None:
    with pytest.raises(NotJson) as refusal:
        parse(text, "f")
    assert location in str(refusal.value)
    assert output in str(refusal.value)
