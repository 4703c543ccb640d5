"""The catalogs are complete, match the code and the compiled files, and keep the placeholders."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.mofile import read_mo

from bai_wizard import locale
from bai_wizard.locale import ntr, tr
from tests.tools.make_catalog import TEMPLATE, catalog_path, in_source, is_translated, read_catalog, template

LANGUAGES = [language for language in locale.LANGUAGES if language != "en"]
UPDATE = "run `make catalog`"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    yield
    locale.choose("en")


@pytest.fixture(scope="module")
def in_code() -> Catalog:
    return template()


def ids(catalog: Catalog) -> set[str | tuple[str, ...]]:
    return {message.id if isinstance(message.id, str) else tuple(message.id) for message in catalog if message.id}


def forms(text: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def is_faithful(message: Message) -> bool:
    """Whether each plural form has the placeholders of the English one; the last English form has them all."""
    expected = placeholders(forms(message.id)[-1])
    return all(placeholders(text) == expected for text in forms(message.string))


@pytest.mark.parametrize("path", [TEMPLATE, *map(catalog_path, LANGUAGES)], ids=lambda path: str(path.name))
def test_a_catalog_holds_exactly_the_sentences_of_the_code(in_code: Catalog, path: Path) -> None:
    catalog = read_catalog(path)
    assert ids(in_code) - ids(catalog) == set(), f"not in {path}: {UPDATE}, then translate them"
    assert ids(catalog) - ids(in_code) == set(), f"not in the code: {UPDATE}"
    assert not catalog.obsolete, UPDATE


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_without_placeholders_is_looked_up_as_a_whole(language: str) -> None:
    """Not in parts: `+ add` is a text of its own."""
    locale.choose(language)
    texts = {
        unescaped(message.id): unescaped(str(message.string))
        for message in read_catalog(catalog_path(language))
        if isinstance(message.id, str) and message.id and not placeholders_or_none(message.id)
    }
    assert len(texts) > 2000
    assert {text: tr(text) for text in texts} == texts


def unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def placeholders_or_none(text: str) -> set[str]:
    """The placeholders; those of a text that is no format string are none of ours."""
    try:
        return placeholders(text)
    except ValueError:
        return {""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated_with_its_placeholders(language: str) -> None:
    catalog = read_catalog(catalog_path(language))
    messages = [message for message in catalog if message.id]
    assert [message.id for message in messages if not is_translated(message)] == [], "not translated"
    assert [message.id for message in messages if message.fuzzy] == [], "check the translation, remove the fuzzy mark"
    assert [message.id for message in messages if not is_faithful(message)] == [], "other placeholders"
    assert [message.id for message in messages for _ in message.check(catalog)] == [], "plural forms or formats"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalog_matches_its_source(language: str) -> None:
    source = read_catalog(catalog_path(language))
    with catalog_path(language).with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)
    assert {str(forms(message.id)): forms(message.string) for message in compiled if message.id} == {
        str(forms(message.id)): forms(message.string) for message in source if message.id
    }, UPDATE
    assert compiled.plural_forms == source.plural_forms


def test_wrong_translations_are_found() -> None:
    catalog = Catalog(locale="ko")
    good = catalog.add(("{count} step on {host}", "{count} steps on {host}"), ("{host}: {count}",))
    bad = catalog.add("{count} more", "{number}")
    assert is_faithful(good)
    assert not is_faithful(bad)
    assert is_translated(good)
    assert not is_translated(catalog.add(("{count} core", "{count} cores"), ("",)))
    assert not is_translated(catalog.add("Open", ""))


def test_sentences_are_found_in_code() -> None:
    source = """
# Translators: of a log
label = N_("Level")
text = f"{tr('one' if few else 'many', count=1)} {tr(label)}"
ntr("{count} step", "{count} "
    "steps", number)
"""
    assert list(in_source(source)) == [
        ("Level", ["of a log"]),
        (("{count} step", "{count} steps"), []),
        ("one", []),
        ("many", []),
    ]


@pytest.mark.parametrize("source", ['tr(f"{name} failed")', 'ntr("{count} step", plural, 2)', 'N_("a" + b)'])
def test_a_sentence_that_no_catalog_can_hold_is_refused(source: str) -> None:
    with pytest.raises(SystemExit, match="literal"):
        list(in_source(source))


def test_a_chosen_language_is_used() -> None:
    locale.choose("ko")
    assert tr("Apply") == "적용"
    assert tr("unknown: {reason}", reason="{x}").endswith("{x}")
    assert tr("a sentence that no catalog has") == "a sentence that no catalog has"
    assert tr("") == ""
    assert {ntr("{count} change", "{count} changes", number) for number in (1, 2)} == {"변경 1건", "변경 2건"}
    assert ntr("{count} one", "{count} many", 2) == "2 many", "not in the catalog"


def test_english_and_unknown_languages_load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "load", lambda language: pytest.fail(language))
    for language in ("en", "de", ""):
        locale.choose(language)
        assert tr("Apply") == "Apply"
        assert [ntr("{count} change", "{count} changes", number) for number in (0, 1)] == ["0 changes", "1 change"]
