"""What keys the settings have at a path: followed through lists, tables and unions."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, Tag

from bai_wizard.pages.fields import TAG, EnvSecret, FileSecret, PromptSecret, SettingsPart

Loc = tuple[str | int, ...]


def without_tags(loc: Loc) -> Loc:
    """The path in the file: pydantic puts the tag of the chosen member of a union, and `[key]`, into it."""
    return tuple(part for part in loc if not (isinstance(part, str) and (part.startswith(TAG) or part == "[key]")))


def keys_at(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The keys of the table at `loc` (with tags); empty where anything is allowed."""
    hint: Any = model
    for part in loc:
        hint = _inside(hint, part)
    hint = _model_in(hint)
    return tuple(hint.model_fields) if hint is not None else ()


def _inside(hint: Any, part: str | int) -> Any:
    if isinstance(part, str) and part.startswith(TAG):
        return next((member for member in _members(hint) if part in _tags(member)), Any)
    model = _model_in(hint)
    if model is not None and isinstance(part, str):
        field = model.model_fields.get(part)
        return field.annotation if field is not None else Any
    for member in _members(hint):
        if typing.get_origin(member) is tuple:
            return typing.get_args(member)[0]
        if typing.get_origin(member) is dict:
            return typing.get_args(member)[1]
    return Any


def _members(hint: Any) -> list[Any]:
    """The members of a union, of unions in it too; a plain hint is its own only member."""
    bare = _bare(hint)
    if typing.get_origin(bare) in (typing.Union, types.UnionType):
        return [
            inner for member in typing.get_args(bare) for inner in ([member] if _tags(member) else _members(member))
        ]
    return [bare]


def _model_in(hint: Any) -> type[BaseModel] | None:
    models = [
        bare for member in _members(hint) if isinstance(bare := _bare(member), type) and issubclass(bare, BaseModel)
    ]
    return models[0] if len(models) == 1 else None


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _tags(hint: Any) -> set[str]:
    if typing.get_origin(hint) is not typing.Annotated:
        return set()
    return {extra.tag for extra in typing.get_args(hint)[1:] if isinstance(extra, Tag)}


def member_models(model: type[BaseModel], name: str) -> dict[str, type[SettingsPart]]:
    """The models that a field's value is made of, by the word of their tag (empty for an untagged one).

    Lists and tables are looked into; sources of secrets are not, for their field's own help says all.
    """
    found: dict[str, type[SettingsPart]] = {}
    pending = [model.model_fields[name].annotation]
    while pending:
        hint = pending.pop(0)
        bare = _bare(hint)
        if isinstance(bare, type) and issubclass(bare, SettingsPart):
            word = next(iter(_tags(hint)), TAG).removeprefix(TAG)
            if not issubclass(bare, PromptSecret | EnvSecret | FileSecret):
                found[word] = bare
        else:
            pending += typing.get_args(bare)
    return found
