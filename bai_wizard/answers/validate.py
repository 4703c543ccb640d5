"""Validate values against the settings, field by field, so that every problem is reported at once.

A reason is phrased to follow the key, and never repeats the value, which may be a secret.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple

from bai_wizard import pages
from bai_wizard.answers.positions import Path
from bai_wizard.pages.fields import SecretReference, SettingsPart, SettingsTable, hints_of, parts_of

# More problems than this are counted but not listed.
MAX_PROBLEMS = 200
# Longer words are not compared with known keys.
_LONGEST_WORD = 64
# What is allowed at the top level of the file.
TOP = (*pages.TABLES, "version", "override")
_TYPES = {int: "must be an integer", str: "must be a string in quotes", bool: "must be true or false"}
_TABLE = "must be a table: { … }"
_ONE_SOURCE = (
    "must not be the secret itself; give its source as exactly one of"
    ' { prompt = true }, { env = "NAME" }, { file = "/path" }, { command = ["/path"] } or { credential = "NAME" }'
)


class FieldProblem(NamedTuple):
    """A problem at a path of the answers. `hide` keeps the value out of the quoted line."""

    path: Path
    reason: str
    hide: bool = False


class Problems:
    """The first problems, which are reported, and the number of all of them."""

    def __init__(self) -> None:
        self.listed: list[FieldProblem] = []
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self.listed) >= MAX_PROBLEMS

    def add(self, path: Path, reason: str | Callable[[], str], *, hide: bool = False) -> None:
        """`reason` is a function if it is expensive to phrase."""
        self.count += 1
        if not self.is_full:
            self.listed.append(FieldProblem(path, reason if isinstance(reason, str) else reason(), hide))

    def extend(self, problems: Sequence[FieldProblem], count: int) -> None:
        """Add several; `count` is the total number if `problems` are only the first of them."""
        self.count += count
        self.listed += problems[: max(MAX_PROBLEMS - len(self.listed), 0)]


def validate(table: str, plain: Any) -> tuple[SettingsTable | None, list[FieldProblem]]:
    """The settings of the table, or None and its problems, at most `MAX_PROBLEMS`."""
    settings, problems = validate_and_count(table, plain)
    return settings, problems.listed


def validate_and_count(table: str, plain: Any) -> tuple[SettingsTable | None, Problems]:
    """Like `validate`, with the total number of problems in the table."""
    problems = Problems()
    settings: SettingsTable | None = None
    if table not in pages.TABLES:
        problems.add((table,), f"unknown table{_nearest(table, TOP)}", hide=True)
    elif not isinstance(plain, dict):
        problems.add((table,), f"must be a table: write [{table}] and its keys below it")
    else:
        settings = _part(pages.settings_of(table), plain, (table,), problems)
    return None if problems.count else settings, problems


def convert(hint: Any, plain: Any) -> tuple[Any, list[FieldProblem]]:
    """The value of a type of the settings, such as a part or an item of a list, and the problems with it."""
    problems = Problems()
    return _convert(hint, plain, (), problems, {}), problems.listed


def _convert(hint: Any, value: Any, path: Path, problems: Problems, limits: Mapping[str, int]) -> Any:
    """The value as stored in the settings; meaningless if it has a problem."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _checked(arguments[0], arguments[1:], value, path, problems, limits)
    if origin in (typing.Union, UnionType):
        members = [member for member in arguments if member is not NoneType]
        if value is None and len(members) < len(arguments):
            return None
        member = members[0] if len(members) == 1 else _selected(hint, members, value, path, problems)
        return None if member is None else _convert(member, value, path, problems, limits)
    if origin is Literal:
        if not any(type(value) is type(word) and value == word for word in arguments):
            problems.add(path, lambda: _expected(arguments, value))
        return value
    if origin is tuple:
        return _list(arguments[0], value, path, problems, limits)
    if origin is dict:
        return _dict(arguments, value, path, problems)
    if issubclass(hint, SettingsPart):
        return _part(hint, value, path, problems)
    if type(value) is not hint:
        problems.add(path, _TYPES[hint])
    elif hint is int and not limits.get("ge", value) <= value <= limits.get("le", value):
        word, limit = ("at least", limits["ge"]) if value < limits.get("ge", value) else ("at most", limits["le"])
        problems.add(path, f"must be {word} {limit}")
    elif hint is str and len(value) > limits.get("max_length", len(value)):
        problems.add(path, f"is too long; at most {limits['max_length']} characters are allowed")
    return value


def _checked(
    hint: Any, checks: tuple[Any, ...], value: Any, path: Path, problems: Problems, limits: Mapping[str, int]
) -> Any:
    """A value with checks of its own; unless it is a string, these check its type as well."""
    before = problems.count
    if hint is str:
        _convert(str, value, path, problems, limits)
    for check in checks if problems.count == before else ():
        try:
            value = check.check(value)
        except ValueError as error:
            problems.add(path, str(error))
    return value


def _list(item: Any, value: Any, path: Path, problems: Problems, limits: Mapping[str, int]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        problems.add(path, "must be a list: [ … ]")
    elif len(value) < limits.get("min_length", 0):
        problems.add(path, "must not be empty")
    elif len(value) > limits.get("max_length", len(value)):
        problems.add(path, f"has too many entries; at most {limits['max_length']} are allowed")
    else:
        return tuple(_convert(item, each, (*path, index), problems, {}) for index, each in enumerate(value))
    return ()


def _dict(hints: tuple[Any, ...], value: Any, path: Path, problems: Problems) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems.add(path, _TABLE)
        return {}
    return {
        _convert(hints[0], key, (*path, key), problems, {}): _convert(hints[1], item, (*path, key), problems, {})
        for key, item in value.items()
    }


def _part(model: type[SettingsPart], value: Any, path: Path, problems: Problems) -> Any:
    """The settings; None if they cannot be made. Conflicts are also looked for among the values that are valid."""
    if not isinstance(value, dict):
        problems.add(path, _TABLE)
        return None
    hints, begin = hints_of(model), problems.count
    values: dict[str, Any] = {}
    for name, info in model.infos.items():
        before = problems.count
        if name in value:
            values[name] = _convert(hints[name], value[name], (*path, name), problems, info.limits)
        elif info.required:
            problems.add((*path, name), "is missing")
        if problems.count > before:
            values.pop(name, None)
    wrong = {*value, *(name for name, info in model.infos.items() if info.required)} - set(values)
    for key in value if len(values) < len(value) else ():
        if key not in hints:
            problems.add((*path, key), partial(_unknown_key, key, tuple(hints)), hide=True)
    if any(model.infos[name].required for name in wrong & set(hints)):
        return None
    settings = model(**values)
    for conflict in settings.conflicts() if problems.count - begin < MAX_PROBLEMS else ():
        if not wrong or (conflict.path and not wrong & {conflict.path[0], *conflict.depends_on}):
            problems.add((*path, *conflict.path), conflict.message)
    return settings


def _selected(hint: Any, members: list[Any], value: Any, path: Path, problems: Problems) -> Any:
    """The member of a union of settings that the value is for; None if it is for none of them."""
    if issubclass(members[0], SecretReference):
        named = [member for member in members if isinstance(value, dict) and set(member.infos) & set(value)]
        if len(named) != 1:
            problems.add(path, _ONE_SOURCE)
        return named[0] if len(named) == 1 else None
    parts = parts_of(hint)
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in parts:
        return parts[kind]
    if kind is None:
        problems.add(path, f"must be a table whose `type` is one of {', '.join(parts)}")
    else:
        near = _close(kind, tuple(parts))
        hint_text = f"; did you mean `{near}`?" if near else ""
        problems.add((*path, "type"), f"must be one of {', '.join(parts)}{hint_text}")
    return None


def _expected(words: tuple[Any, ...], value: Any) -> str:
    reason = "must be " + " or ".join(f'"{word}"' if isinstance(word, str) else str(word).lower() for word in words)
    close = _close(value, words) if len(words) > 2 else ""
    return f'{reason}; did you mean "{close}"?' if close else reason


def _unknown_key(key: str, known: tuple[str, ...]) -> str:
    return f"unknown key{_nearest(key, known)}"


def _nearest(word: str, known: tuple[str, ...]) -> str:
    """A "did you mean" suggestion, or the known words if none is close and they are few."""
    close = _close(word, known)
    if close:
        return f"; did you mean `{close}`?"
    return "; known keys: " + ", ".join(known) if len(known) <= 24 else ""


def _close(word: Any, known: tuple[str, ...]) -> str:
    """The known word that is most similar; empty without a similar one."""
    from difflib import get_close_matches

    if not isinstance(word, str) or len(word) > _LONGEST_WORD:
        return ""
    return next(iter(get_close_matches(word.lower(), known, 1, 0.6)), "")
