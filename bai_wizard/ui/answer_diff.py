"""How answers differ from others, field by field: those of the opened file, or those read back from the node."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from bai_wizard.answers.model import dotted
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, settings_of
from bai_wizard.pages.fields import SettingsPart
from bai_wizard.ui.draft import tables_of
from bai_wizard.ui.find import HIDDEN, text_of
from bai_wizard.ui.form_fields import FormField, form_fields, plain_default

Values = Mapping[str, Any]


class Difference(NamedTuple):
    """One field with two values, as texts; `key` is its path in the answers."""

    page: str
    key: str
    label: str
    before: str
    after: str


def differences(
    before: Mapping[str, Values], after: Mapping[str, Values], pages: Collection[str]
) -> list[Difference]:
    """The fields of these pages whose values differ. A value that was not given is the default."""
    return [
        difference
        for page in ORDER
        if page in pages
        for table in tables_of(page)
        for difference in _of_part(
            page, (table,), settings_of(table), before.get(table) or {}, after.get(table) or {}, ()
        )
    ]


def _of_part(
    page: str,
    path: tuple[str, ...],
    model: type[SettingsPart],
    before: Values,
    after: Values,
    above: tuple[str, ...],
) -> Iterator[Difference]:
    for form_field in form_fields(model):
        name = form_field.info.name
        old, new = _value(form_field, before), _value(form_field, after)
        below, labels = (*path, name), (*above, tr(form_field.info.label))
        if form_field.widget == "part" and isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _of_part(page, below, form_field.model, old, new, labels)
        elif _comparable(old) != _comparable(new):
            yield Difference(page, dotted(below), ", ".join(labels), _shown(form_field, old), _shown(form_field, new))


def _value(form_field: FormField, values: Values) -> Any:
    name = form_field.info.name
    return values[name] if name in values else plain_default(form_field)


def _comparable(value: Any) -> Any:
    """The value without what was not given, and with lists in place of tuples."""
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items() if item not in (None, "", [], (), {}, False)}
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value] or None
    return None if value in ("", False) else value


def _shown(form_field: FormField, value: Any) -> str:
    if form_field.widget in HIDDEN:
        return tr("given") if value else tr("none")
    if form_field.widget == "part":
        return tr("no") if value is None else tr("yes")
    return text_of(form_field, value) or tr("none")
