"""Form fields derived from the settings, and the conversion of their values to and from text."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.answers.validate import convert
from bai_wizard.locale import N_, tr
from bai_wizard.pages.fields import FieldInfo, SecretReference, SettingsPart, dump, hints_of, parts_of

WidgetKind = Literal[
    "yes-no",
    "one-of",
    "some-of",
    "number",
    "text",
    "lines",
    "pairs",
    "part",
    "rows",
    "named-parts",
    "secret",
    "hash",
]


class FormField(Struct, frozen=True):
    """How one field is asked for.

    `options` are the words to choose from. `models` are the settings of a part, of each row or of each named part; if
    there are several, a row's `type` selects one, and they are keyed by it. `optional` means that the field may be
    absent, which is not the same as empty. `numbers` means that a value of digits is a number. `item` is the type of
    an item of "lines".
    """

    info: FieldInfo
    widget: WidgetKind
    options: tuple[str, ...] = ()
    models: dict[str, type[SettingsPart]] | None = None
    optional: bool = False
    numbers: bool = False
    item: Any = None

    @property
    def model(self) -> type[SettingsPart]:
        """The only model of a part. Raises ValueError unless there is exactly one."""
        (model,) = (self.models or {}).values()
        return model

    def as_widget(self, sort: WidgetKind) -> FormField:
        """The same field with a different widget."""
        return replace(self, widget=sort)

    @property
    def model_fields(self) -> frozenset[str]:
        """The names of the fields of a part or row, for all of its types."""
        return frozenset(name for model in (self.models or {}).values() for name in model.infos)


def form_fields(settings: type[SettingsPart]) -> tuple[FormField, ...]:
    """Every field of the settings in the order in which it is asked for, without `apply` and `type`.

    `apply` corresponds to skipping a page, `type` is selected when a row is created: both are handled elsewhere.
    """
    return tuple(
        form_field_of(info, hints_of(settings)[name])
        for name, info in settings.infos.items()
        if name not in ("apply", "type")
    )


def path_in_words(models: Mapping[str, type[SettingsPart]], values: Any, path: Iterable[str | int]) -> str:
    """A path below `values` by the labels of its fields: `Volumes, row 1, Source`. `models` as in `FormField`."""
    words: list[str] = []
    for part in path:
        kind = str(values.get("type")) if isinstance(values, Mapping) else ""
        infos = {name: model for model in models.values() for name in model.infos}
        if kind in models:
            infos |= dict.fromkeys(models[kind].infos, models[kind])
        if isinstance(part, int):
            row = tr("row {number}", number=part + 1)
            words.append(row if words else row[:1].upper() + row[1:])
        elif part in infos:
            words.append(tr(infos[part].infos[part].label))
            models = parts_of(hints_of(infos[part])[part])
        else:
            words.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return ", ".join(words)


def form_field_of(note: FieldInfo, hint: Any) -> FormField:
    """The form field for one type. Raises TypeError for a type that no form supports."""
    hints, optional = _without_none(hint)
    if any(isinstance(each, type) and issubclass(each, SecretReference) for each in hints):
        return FormField(note, "secret", optional=optional)
    if len(hints) == 1:
        return _single(note, hints[0], optional)
    if all(_is_simple(each) for each in hints):
        return FormField(
            note, "number" if int in hints and str not in hints else "text", (), None, optional, int in hints
        )
    raise TypeError(f"no form for {note.name}: {hint}")


def _single(note: FieldInfo, hint: Any, optional: bool) -> FormField:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return FormField(note, "yes-no", optional=optional)
    if hint is int:
        return FormField(note, "number", optional=optional, numbers=True)
    if hint is str:
        words = tuple(note.choices)
        return FormField(note, "text", words, None, optional)
    if origin is Literal:
        return FormField(note, "one-of", tuple(str(word) for word in arguments), None, optional)
    if origin is tuple:
        return _many(note, arguments[0], optional)
    if origin is dict:
        return _dict(note, arguments[1], optional)
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        return FormField(note, "part", (), {"": hint}, optional)
    if isinstance(hint, type) and hint.__name__ == "Secret":
        return FormField(note, "hash", optional=optional)
    raise TypeError(f"no form for {note.name}: {hint}")


def _many(note: FieldInfo, item: Any, optional: bool) -> FormField:
    hints, _ = _without_none(item)
    if len(hints) == 1 and typing.get_origin(hints[0]) is Literal:
        return FormField(note, "some-of", tuple(typing.get_args(hints[0])), None, optional)
    models = parts_of(item)
    if models:
        return FormField(note, "rows", (), models, optional)
    return FormField(note, "lines", (), None, optional, int in hints, item)


def _dict(note: FieldInfo, item: Any, optional: bool) -> FormField:
    models = parts_of(item)
    if models:
        return FormField(note, "named-parts", (), models, optional)
    hints, _ = _without_none(item)
    return FormField(note, "pairs", (), None, optional, int in hints)


def _members(hint: Any) -> list[Any]:
    """The members of a union without annotations; any other hint counts as its only member."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _members(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return [inner for member in arguments for inner in _members(member)]
    return [hint]


def _without_none(hint: Any) -> tuple[list[Any], bool]:
    """The plain members of a hint without annotations, and whether None is one of them."""
    members = _members(hint)
    return [member for member in members if member is not type(None)], type(None) in members


def _is_simple(hint: Any) -> bool:
    return hint in (int, str) or typing.get_origin(hint) is Literal


def misfit(values: Mapping[str, Any], model: type[SettingsPart]) -> str:
    """Why a form cannot hold these plain values, valid or not; empty if it can hold all of them."""
    known = {form_field.info.name: form_field for form_field in form_fields(model)}
    for name, value in values.items():
        if name in ("apply", "type"):
            fits = isinstance(value, bool | str)
        elif name not in known:
            return f"no field {name}"
        else:
            fits = value is None or _fits(value, known[name])
        if not fits:
            return f"{name} has the wrong type"
    return ""


def fitting(values: Mapping[str, Any], model: type[SettingsPart]) -> dict[str, Any]:
    """These plain values, valid or not, without those that a form cannot hold."""
    known = {form_field.info.name: form_field for form_field in form_fields(model)}
    result = {}
    for name, value in values.items():
        if name in known and value is not None:
            kept = _fitting(value, known[name])
            if not misfit({name: kept}, model):
                result[name] = kept
        elif not misfit({name: value}, model):
            result[name] = value
    return result


def _fitting(value: Any, form_field: FormField) -> Any:
    """A value without the parts that do not fit; whether it fits itself is up to the caller."""
    if form_field.widget == "part" and isinstance(value, dict):
        return fitting(value, form_field.model)
    if form_field.widget == "rows" and isinstance(value, list):
        return [_row(row, form_field) for row in value]
    if form_field.widget == "named-parts" and isinstance(value, dict):
        return {name: _row(row, form_field) for name, row in value.items()}
    return value


def _row(row: Any, form_field: FormField) -> Any:
    models = form_field.models or {}
    kind = row.get("type", next(iter(models))) if isinstance(row, dict) else None
    return fitting(row, models[kind]) if isinstance(kind, str) and kind in models else row


def _fits(value: Any, form_field: FormField) -> bool:
    if form_field.widget == "part":
        return isinstance(value, dict) and not misfit(value, form_field.model)
    if form_field.widget == "rows":
        return isinstance(value, list) and all(_is_row(row, form_field) for row in value)
    if form_field.widget == "named-parts":
        return isinstance(value, dict) and all(_is_row(row, form_field) for row in value.values())
    if form_field.widget == "pairs":
        return isinstance(value, dict) and all(map(_is_scalar, value.values()))
    if form_field.widget in ("lines", "some-of"):
        return isinstance(value, list) and all(map(_is_scalar, value))
    if form_field.widget == "secret":
        return isinstance(value, dict) and set(value) <= {"prompt", *SOURCES} and all(map(_is_source, value.values()))
    return _is_scalar(value)


def _is_row(row: Any, form_field: FormField) -> bool:
    models = form_field.models or {}
    if not isinstance(row, dict):
        return False
    kind = row.get("type", next(iter(models)))
    return isinstance(kind, str) and kind in models and not misfit(row, models[kind])


def _is_source(value: Any) -> bool:
    return all(map(_is_scalar, value)) if isinstance(value, list) else _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


# The question for each source of a secret that has to be named.
SOURCES = {
    "env": N_("Variable name:"),
    "file": N_("File path:"),
    "command": N_("Program with its arguments:"),
    "credential": N_("Name of the systemd credential:"),
}


def source_text(way: str, source: Any) -> str:
    """The name in a secret's source as it is typed; empty for another way."""
    import shlex

    named = source.get(way, "") if isinstance(source, Mapping) else ""
    return shlex.join(map(str, named)) if isinstance(named, list | tuple) else str(named)


def source_of(way: str, text: str) -> dict[str, Any]:
    """The source of a secret from what was typed; a command is split like a line of a shell."""
    import shlex

    if way != "command":
        return {way: text}
    try:
        return {way: shlex.split(text)}
    except ValueError:  # an open quote, which validation then reports as a part of the program's path
        return {way: [text]}


NUMBER = re.compile(r"[+-]?[0-9]{1,19}")
SEPARATORS = re.compile(r"[,\s]+")


def from_text(form_field: FormField, text: str) -> Any:
    """The value of one line; a text that is not a number stays a text, so that validation can report the reason."""
    text = text.strip()
    if not text and form_field.optional:
        return None
    if form_field.numbers and NUMBER.fullmatch(text):
        return int(text)
    return text


def to_text(value: Any) -> str:
    """One value as a line; empty if it is absent."""
    return "" if value is None else str(value)


def from_lines(form_field: FormField, text: str) -> Any:
    """A list, or a table with `key = value` on each line. Empty lines are ignored.

    Items of a list are separated by line breaks, and by commas or blanks if an item cannot contain these.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if form_field.widget != "pairs":
        items = [item for line in lines for item in split(form_field, line)]
        return [_number(form_field, item) for item in items]
    pairs: dict[str, Any] = {}
    for line in lines:
        key, _, value = line.partition("=")
        value = value.strip()
        pairs[key.strip()] = int(value) if form_field.numbers and NUMBER.fullmatch(value) else value
    return pairs


def split(form_field: FormField, line: str) -> list[str]:
    """The items on one line of a list: one, unless the whole is not a valid item but a part of it is."""
    parts = [part for part in SEPARATORS.split(line) if part]
    if len(parts) > 1 and not fits(form_field, line) and any(fits(form_field, part) for part in parts):
        return parts
    return parts if parts and parts != [line] and len(parts) == 1 and fits(form_field, parts[0]) else [line]


def fits(form_field: FormField, text: str) -> bool:
    """Whether a text is a valid item of a list."""
    return not convert(form_field.item, _number(form_field, text))[1]


def _number(form_field: FormField, text: str) -> Any:
    return int(text) if form_field.numbers and NUMBER.fullmatch(text) else text


def to_lines(value: Any) -> str:
    """The inverse of `from_lines`."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key} = {item}" for key, item in value.items())
    return "\n".join(str(item) for item in value or ())


def plain_default(form_field: FormField) -> Any:
    """The field's default as plain values; None without a default or if the field is required."""
    return None if form_field.info.required else dump(form_field.info.default)


def in_one_line(value: Any) -> str:
    """A row's values for a list: those that distinguish it from others, joined by blanks."""
    if isinstance(value, Mapping):
        parts = []
        for key, item in value.items():
            if item in (None, "", [], {}, False):
                continue
            parts.append(key if item is True else in_one_line(item))
        return "  ".join(parts)
    if isinstance(value, list | tuple):
        return " ".join(in_one_line(item) for item in value)
    return str(value)
