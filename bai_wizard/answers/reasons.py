"""pydantic's errors in plain words. The value itself is never repeated: it may be a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_WANTED = {
    "int_type": "must be a whole number",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list: [ … ]",
    "dict_type": "must be a table: { … }",
    "model_type": "must be a table: { … }",
    "model_attributes_type": "must be a table: { … }",
}


def reason_of(error: ErrorDetails) -> str:
    """The reason, reading on from the key."""
    kind, about = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind in _WANTED:
        return f"{_WANTED[kind]}, not {_name_of(error['input'])}"
    if kind == "value_error":
        return str(about["error"])
    if kind == "literal_error":
        return _literal(error, about)
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"must be {'at least' if kind.startswith('greater') else 'at most'} {about.get('ge', about.get('le'))}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty" if about["min_length"] == 1 else f"needs at least {about['min_length']} entries"
    if kind == "too_long":
        return f"has too many entries, {about['max_length']} are allowed"
    if kind == "string_too_long":
        return f"is too long, {about['max_length']} characters are allowed"
    return error["msg"][:1].lower() + error["msg"][1:]


def _literal(error: ErrorDetails, about: dict[str, Any]) -> str:
    """pydantic names what is expected as `'a', 'b' or 'c'`."""
    expected = str(about["expected"])
    if "'" not in expected:
        return f"must be {expected.lower()}"
    words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    reason = "must be " + " or ".join(f'"{word}"' for word in words)
    if isinstance(error["input"], str):
        from difflib import get_close_matches

        close = get_close_matches(error["input"].lower(), words, 1, 0.6)
        return f'{reason}; did you mean "{close[0]}"?' if close and len(words) > 2 else reason
    return f"{reason}, not {_name_of(error['input'])}"


def _name_of(value: object) -> str:
    """The sort of a TOML value, as people call it."""
    if isinstance(value, bool):
        return "true or false"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (int, "a whole number"),
        (float, "a decimal number"),
        (str, "a text"),
        ((list, tuple), "a list"),
        (dict, "a table"),
    )
    return next((name for sort, name in names if isinstance(value, sort)), "a date or time")
