"""Settings as hypothesis makes them: built from the models' own annotations, so that no field is forgotten."""

from __future__ import annotations

import types
import typing
from typing import Any

from annotated_types import Ge, Le, MinLen
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, PlainValidator

from bai_wizard.answers.validate import validate
from bai_wizard.pages import settings_of
from bai_wizard.pages.fields import SettingsTable
from bai_wizard.pages.values import Shape

HASH = "$y$j9T$abcdefghijklmnop$abcdefghijklmnopqrstuvwxyz0123456789abcdefg"
NOT_BY_PATTERN: dict[str, st.SearchStrategy[Any]] = {
    "check_address": st.ip_addresses().map(str),
    "check_network": st.sampled_from(["172.30.0.0/16", "10.0.0.0/8", "fd00::/8"]),
    "check_password_hash": st.just(HASH),
    "check_sysctl_value": st.integers(-(2**63), 2**63 - 1) | st.sampled_from(["a", "4096 131072 6291456", "한 글"]),
    "check_memlock": st.just("unlimited") | st.integers(64, 2**40),
}


def plain_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Plain values for a model: required keys always, the others sometimes."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, info in model.model_fields.items():
        strategy = _of(info.annotation, tuple(info.metadata))
        (required if info.is_required() else optional)[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


def _of(hint: Any, metadata: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        inner, *extra = typing.get_args(hint)
        return _of(inner, (*extra, *metadata))
    for item in metadata:
        if isinstance(item, Shape):
            return _text(item)
        if isinstance(item, AfterValidator | PlainValidator):
            name = item.func.__name__
            if name in NOT_BY_PATTERN:
                return NOT_BY_PATTERN[name]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_of(arg, ()) for arg in args if arg is not type(None)])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_of(args[0], ()), min_size=_bound(metadata, MinLen, "min_length", 0), max_size=4)
    if origin is dict:
        return st.dictionaries(_of(args[0], ()), _of(args[1], ()), max_size=3)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(_bound(metadata, Ge, "ge", 0), _bound(metadata, Le, "le", 2**31))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return plain_of(hint)
    raise AssertionError(f"no strategy for {hint}")


def _bound(metadata: tuple[Any, ...], sort: type, name: str, default: int) -> int:
    return next((int(getattr(item, name)) for item in metadata if isinstance(item, sort)), default)


def _text(shape: Shape) -> st.SearchStrategy[str]:
    def fits(text: str) -> bool:
        try:
            shape.check(text)
        except ValueError:
            return False
        return all(letter.isprintable() for letter in text) and len(text) <= 120

    return st.from_regex(shape.pattern, fullmatch=True).filter(fits)


@st.composite
def settings_tables(draw: st.DrawFn, table: str) -> SettingsTable:
    """Valid settings of a table. Keys whose values do not go together with the others are left out."""
    plain = draw(plain_of(settings_of(table)))
    for _ in range(4):
        settings, faults = validate(table, plain)
        if settings is not None:
            return settings
        wrong = {fault.path[1] for fault in faults if len(fault.path) > 1}
        plain = {key: value for key, value in plain.items() if key not in wrong}
        if wrong & {"sudo", "password"}:
            plain |= {"sudo": "no"}
    settings, faults = validate(table, {})
    assert settings is not None or table == "account", faults
    return settings or validate(table, {"sudo": "no"})[0] or settings_of(table)()
