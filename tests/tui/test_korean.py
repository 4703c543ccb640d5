"""The Korean texts are complete, and their blanks are those of the English ones."""

from __future__ import annotations

import string

from bai_wizard import pages
from bai_wizard.texts import catalogue
from tests.tui.sentences import in_code, of_settings

# What the search for sentences takes for some and what is none: keys of tables, words that are typed.
NO_SENTENCES = {"", "no", "ask", "diff", "doctor", "end", "main", "paste", "review", "row", "run", "runs", "undo"}
# Helps of fields are edited by people who know no Korean: some of them may lag behind.
MAY_LAG = 0.1


def of_sheets() -> set[str]:
    """The titles of the tables that pages show."""
    return {"Which Python for which release", "Wanted images"}


def names_in(text: str) -> set[str]:
    """The blanks of a sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_sentence_of_the_screens_is_there() -> None:
    titles = {text for name in pages.ORDER for text in (pages.load(name).title, pages.load(name).summary)}
    assert not (in_code() | titles | of_sheets()) - NO_SENTENCES - set(catalogue("ko"))


def test_most_of_the_fields_texts_are_there() -> None:
    wanted = of_settings()
    missing = wanted - set(catalogue("ko"))
    assert len(missing) <= MAY_LAG * len(wanted), sorted(missing)


def test_blanks_are_those_of_the_english() -> None:
    assert not [text for text, told in catalogue("ko").items() if names_in(text) != names_in(told)]
