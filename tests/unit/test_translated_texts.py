"""Texts that were composed in English are translated: templates, parameters, joined sentences, Korean particles."""

from __future__ import annotations

import pytest

from bai_wizard.locale.catalog import Catalog
from bai_wizard.locale.particles import with_particles
from tests.tools.messages import messages

IDS = {
    "Save answers": "SAVE",
    "{path} cannot be read: {reason}": "{reason} @ {path}",
    "permission denied by the server": "DENIED",
    "nothing was changed": "UNCHANGED",
    "replace {old} by {new}, then retry": "{new} <- {old}",
    "Restart it. Then look again.": "RESTART.",
    "run `f() {{ :; }}` in a shell": "run {{}}",
    "{a} and {b}": "{b} & {a}",
    "{list}. Remove the wrong lines": "REMOVE {list}",
}


@pytest.fixture
def catalog() -> Catalog:
    from gettext import NullTranslations

    return Catalog(NullTranslations(), IDS)


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("Save answers", "SAVE"),
        ("/a cannot be read: permission denied by the server", "DENIED @ /a"),
        ("/a cannot be read: no such file", "no such file @ /a"),
        ("replace x, y by z, then retry", "z <- x, y"),
        ("nothing was changed; /a cannot be read: b", "UNCHANGED; b @ /a"),
        ("Nothing was changed.", "UNCHANGED."),
        ("  ! nothing was changed", "  ! UNCHANGED"),
        ("Restart it. Then look again. Nothing was changed", "RESTART. UNCHANGED"),
        ("~ /etc/x  nothing was changed", "~ /etc/x  UNCHANGED"),
        ("first\nnothing was changed", "first\nUNCHANGED"),
        ("run `f() { :; }` in a shell", "run {}"),
        ("nothing was changed and nothing was changed", "UNCHANGED & UNCHANGED"),
        ("a = 1; nothing was changed. Remove the wrong lines", "REMOVE a = 1; UNCHANGED"),
        ("an error of another program", "an error of another program"),
        ("", ""),
    ],
)
def test_a_text_is_recognized(catalog: Catalog, text: str, translated: str) -> None:
    assert catalog.text(text) == translated
    assert catalog.text(translated) == translated, "a second time changes nothing"


def test_parameters_are_translated_but_names_are_not(catalog: Catalog) -> None:
    assert catalog.filled("[{x}]", {"x": ValueError("nothing was changed")}) == "[UNCHANGED]"
    one_word = Catalog(catalog.messages, {"storage": "STORAGE"})
    assert one_word.filled("[{x}]", {"x": "storage"}) == "[storage]", "may be the name of a host or an account"


def test_a_long_text_is_not_searched(catalog: Catalog) -> None:
    text = "nothing was changed" + " x" * 5000
    assert catalog.text(text) == text


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("daemon.json을(를)", "daemon.json을"),
        ("파일이(가) 없고 노드은(는) 있음", "파일이 없고 노드는 있음"),
        ("서버(으)로 서울(으)로 집(으)로", "서버로 서울로 집으로"),
        ("`/etc/hosts`와(과) x", "`/etc/hosts`와(과) x"),
        ("1(으)로 3(으)로 4(으)로", "1로 3으로 4로"),
        ("{list}(whole) (으)로", "{list}(whole) (으)로"),
    ],
)
def test_particles_fit_the_word_before(text: str, right: str) -> None:
    assert with_particles(text) == right


def test_messages_are_found_in_code() -> None:
    source = '''
def f(path, error, names):
    """A docstring is for developers."""
    are = "is" if len(names) == 1 else "are"
    debug(f"read of {path} failed")
    yield f"{', '.join(names)} {are} in use" + f" by {path.owner()!r}"
    if "not a message" in error:
        raise Failed({"a": "this kernel does not have it"}[error])
    log(f"{count} line{'s' * (count != 1)} of it")
    return ["apt-get", "install", "--yes", "/etc/hosts"], Evidence(f"{path} and {path} of {f(path)}: it is empty")
'''
    assert set(messages(source)) == {
        "{list} is in use by {owner}",
        "{list} are in use by {owner}",
        "{count} line of it",
        "{count} lines of it",
        "this kernel does not have it",
        "{path} and {path} of {path2}: it is empty",
    }
