"""What sort of answer a field of the settings takes: from its type hints to what a form has to offer."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Tag

from bai_wizard.pages.fields import TAG, EnvSecret, FileSecret, Note, PromptSecret, notes

Sort = Literal[
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


@dataclass(frozen=True)
class Shape:
    """How one field is asked for.

    `options` are the words to choose from. `models` are the settings of a part, of each row or of each named part;
    several of them mean that a row's `type` decides, and they are keyed by it. `optional` means that the field may
    be absent, which is not the same as empty. `numbers` means that a value of digits is a number.
    """

    note: Note
    sort: Sort
    options: tuple[str, ...] = ()
    models: dict[str, type[BaseModel]] | None = None
    optional: bool = False
    numbers: bool = False

    @property
    def model(self) -> type[BaseModel]:
        """The one model of a part. Raises ValueError where there is none, or a choice."""
        (model,) = (self.models or {}).values()
        return model

    def as_sort(self, sort: Sort) -> Shape:
        """The same field asked for in another way."""
        return replace(self, sort=sort)

    @property
    def model_fields(self) -> frozenset[str]:
        """The names of the fields of a part or row, of all sorts of it."""
        return frozenset(name for model in (self.models or {}).values() for name in model.model_fields)


def shapes(settings: type[BaseModel]) -> tuple[Shape, ...]:
    """Every field of the settings in the order in which it is asked for, without `apply` and `type`.

    `apply` is what skipping a page means, `type` is decided when a row is made: both are asked elsewhere.
    """
    return tuple(
        shape_of(note, settings.model_fields[note.name].annotation)
        for note in notes(settings)
        if note.name not in ("apply", "type")
    )


def shape_of(note: Note, hint: Any) -> Shape:
    """The shape of one type. Raises TypeError for a type that no form can ask for."""
    hints, optional = _without_none(hint)
    if any(each in (PromptSecret, EnvSecret, FileSecret) for each in hints):
        return Shape(note, "secret", optional=optional)
    if len(hints) == 1:
        return _single(note, hints[0], optional)
    if all(_is_simple(each) for each in hints):
        return Shape(
            note, "number" if int in hints and str not in hints else "text", (), None, optional, int in hints
        )
    raise TypeError(f"no form for {note.name}: {hint}")


def _single(note: Note, hint: Any, optional: bool) -> Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return Shape(note, "yes-no", optional=optional)
    if hint is int:
        return Shape(note, "number", optional=optional, numbers=True)
    if hint is str:
        words = tuple(note.choices)
        return Shape(note, "text", words, None, optional)
    if origin is Literal:
        return Shape(note, "one-of", tuple(str(word) for word in arguments), None, optional)
    if origin is tuple:
        return _many(note, arguments[0], optional)
    if origin is dict:
        return _dict(note, arguments[1], optional)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return Shape(note, "part", (), {"": hint}, optional)
    if isinstance(hint, type) and hint.__name__ == "Secret":
        return Shape(note, "hash", optional=optional)
    raise TypeError(f"no form for {note.name}: {hint}")


def _many(note: Note, item: Any, optional: bool) -> Shape:
    hints, _ = _without_none(item)
    if len(hints) == 1 and typing.get_origin(hints[0]) is Literal:
        return Shape(note, "some-of", tuple(typing.get_args(hints[0])), None, optional)
    models = _models(item)
    if models:
        return Shape(note, "rows", (), models, optional)
    return Shape(note, "lines", (), None, optional, int in hints)


def _dict(note: Note, item: Any, optional: bool) -> Shape:
    models = _models(item)
    if models:
        return Shape(note, "named-parts", (), models, optional)
    hints, _ = _without_none(item)
    return Shape(note, "pairs", (), None, optional, int in hints)


def _models(hint: Any) -> dict[str, type[BaseModel]]:
    """The models of a union by their tags, or the one model under an empty name; empty where it is plain text."""
    found: dict[str, type[BaseModel]] = {}
    for member, tag in _tagged(hint):
        if not (isinstance(member, type) and issubclass(member, BaseModel)):
            return {}
        found[tag] = member
    return found


def _tagged(hint: Any, tag: str = "") -> list[tuple[Any, str]]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        tags = [str(mark.tag).removeprefix(TAG) for mark in arguments[1:] if isinstance(mark, Tag)]
        return _tagged(arguments[0], tags[0] if tags else tag)
    if origin in (types.UnionType, typing.Union):
        return [pair for member in arguments for pair in _tagged(member)]
    return [(hint, tag)]


def _without_none(hint: Any) -> tuple[list[Any], bool]:
    """The plain members of a hint without annotations, and whether None is one of them."""
    members = [member for member, _ in _tagged(hint)]
    return [member for member in members if member is not type(None)], type(None) in members


def _is_simple(hint: Any) -> bool:
    return hint in (int, str) or typing.get_origin(hint) is Literal
