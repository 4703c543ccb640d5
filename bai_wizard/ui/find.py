"""Search the fields and objects of all pages by their labels, values and help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bai_wizard.answers.model import dotted
from bai_wizard.compose import table_of
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, TITLES, settings_of
from bai_wizard.pages.fields import SettingsPart
from bai_wizard.ui.draft import Draft, Path, tables_of
from bai_wizard.ui.form_fields import FormField, form_fields, in_one_line, plain_default
from bai_wizard.ui.plans import FactCache

# Fields whose value is not shown.
HIDDEN = ("secret", "hash")


class Place(NamedTuple):
    """A field of a page by its path in the answers, or an object by its label; `more` is searched, but not shown."""

    page: str
    key: str
    label: str
    value: str = ""
    more: str = ""


def places(fact_cache: FactCache, draft: Draft) -> Iterator[Place]:
    """Everything that can be found, page by page."""
    desired = draft.desired_to_probe()
    for page in ORDER:
        for table in tables_of(page):
            yield from _fields(page, (table,), settings_of(table), draft, ())
        facts = fact_cache.facts(page)
        if facts is not None:
            settings = desired.settings[table_of(page)]
            for item in fact_cache.page(page).items(settings, facts, desired.context):
                yield Place(page, item.label, item.label, item.want or item.now)


def _fields(
    page: str, path: tuple[str, ...], model: type[SettingsPart], draft: Draft, above: tuple[str, ...]
) -> Iterator[Place]:
    for form_field in form_fields(model):
        below = (*path, form_field.info.name)
        labels = (*above, tr(form_field.info.label))
        value = _value(form_field, below[0], below[1:], draft)
        if form_field.widget != "part" or form_field.optional:
            yield Place(page, dotted(below), ", ".join(labels), text_of(form_field, value), tr(form_field.info.help))
        if form_field.widget == "part" and (value is not None or not form_field.optional):
            yield from _fields(page, below, form_field.model, draft, labels)


def _value(form_field: FormField, table: str, path: Path, draft: Draft) -> object:
    return draft.value(table, path) if draft.has(table, path) else plain_default(form_field)


def text_of(form_field: FormField, value: object) -> str:
    """A value in one line; empty without one, or if it is a secret."""
    if form_field.widget in (*HIDDEN, "part"):
        return ""
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    return in_one_line(value) if value not in (None, "", [], {}) else ""


def matching(found: Sequence[Place], words: str, page: str) -> list[Place]:
    """The places that contain every word, page by page: `page` first, then those with matches in labels.

    Without words: everything on `page`.
    """
    wanted = words.lower().split()
    if not wanted:
        return [place for place in found if place.page == page]
    ranked = [(rank, place) for place in found if (rank := _rank(place, wanted)) is not None]
    best = {name: min(rank for rank, place in ranked if place.page == name) for name in {p.page for _, p in ranked}}

    def order(pair: tuple[int, Place]) -> tuple[bool, int, int, int]:
        rank, place = pair
        return place.page != page, best[place.page], ORDER.index(place.page), rank

    return [place for _, place in sorted(ranked, key=order)]


def _rank(place: Place, words: Sequence[str]) -> int | None:
    """How near to its label a place contains all words: the lower, the nearer; None if it does not."""
    texts = (place.label, f"{place.value} {place.key} {tr(TITLES[place.page])}", place.more)
    for rank in range(len(texts)):
        if has_words(" ".join(texts[: rank + 1]), words):
            return rank
    return None


def has_words(text: str, words: Sequence[str]) -> bool:
    """Whether a text contains every word, whatever its case."""
    lower = text.lower()
    return all(word in lower for word in words)
