"""Hypothesis strategies for settings, derived from the models' annotations so that no field is missed."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from bai_wizard.answers.validate import validate
from bai_wizard.pages import settings_of
from bai_wizard.pages.fields import SettingsPart, SettingsTable, hints_of
from bai_wizard.pages.values import Pattern

HASH = "$y$j9T$abcdefghijklmnop$abcdefghijklmnopqrstuvwxyz0123456789abcdefg"
NOT_BY_PATTERN: dict[str, st.SearchStrategy[Any]] = {
    "check_address": st.ip_addresses().map(str),
    "check_network": st.sampled_from(["172.30.0.0/16", "10.0.0.0/8", "fd00::/8"]),
    "check_password_hash": st.just(HASH),
    "check_sysctl_value": st.integers(-(2**63), 2**63 - 1) | st.sampled_from(["a", "4096 131072 6291456", "한 글"]),
    "check_memlock": st.just("unlimited") | st.integers(64, 2**40),
}


def plain_of(model: type[SettingsPart]) -> st.SearchStrategy[dict[str, Any]]:
    """Plain values for a model: required keys always, the others sometimes."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, info in model.infos.items():
        strategy = _of(hints_of(model)[name], info.limits)
        (required if info.required else optional)[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


def _of(hint: Any, limits: Mapping[str, int]) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        check = typing.get_args(hint)[1]
        return _text(check) if isinstance(check, Pattern) else NOT_BY_PATTERN[check.check.__name__]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_of(arg, limits) for arg in args if arg is not type(None)])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_of(args[0], {}), min_size=limits.get("min_length", 0), max_size=4)
    if origin is dict:
        return st.dictionaries(_of(args[0], {}), _of(args[1], {}), max_size=3)
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(limits.get("ge", 0), limits.get("le", 2**31))
    if isinstance(hint, type) and issubclass(hint, SettingsPart):
        return plain_of(hint)
    raise AssertionError(f"no strategy for {hint}")


def _text(shape: Pattern) -> st.SearchStrategy[str]:
    def fits(text: str) -> bool:
        try:
            shape.check(text)
        except ValueError:
            return False
        return all(character.isprintable() for character in text) and len(text) <= 120

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
