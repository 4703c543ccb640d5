"""The position scanner finds the same keys as tomllib, at the right lines and columns."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from bai_wizard.answers.positions import Path, positions


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every key path and list index of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths_of(item, (*path, key))


def token_at(text: str, position: tuple[int, int]) -> str:
    line, column = position
    return text.split("\n")[line - 1][column - 1 :]


def assert_agrees(text: str) -> None:
    document = tomllib.loads(text)
    result = positions(text)
    assert set(result) == set(paths_of(document))
    for path, position in result.items():
        name = path[-1]
        if isinstance(name, int):
            continue
        token = token_at(text, position)
        if token[0] in "\"'":
            quote = token[0]
            end = next(i for i in range(1, len(token)) if token[i] == quote and unescaped(token, i, quote))
            assert tomllib.loads(f"k = {token[: end + 1]}")["k"] == name
        else:
            assert token.startswith(name)


def unescaped(token: str, at: int, quote: str) -> bool:
    if quote == "'":
        return True
    return (len(token[:at]) - len(token[:at].rstrip("\\"))) % 2 == 0


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\x7f"), max_size=8) | st.sampled_from(
    ["a", "b", "uid", "sudo", "a.b", "", '"', "'", "#", "[x]", "="]
)
texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["]", "}", ",", "=", '"""', "'''", "# no comment", "[t]", 'x"', "a\n[b]\nc = 1", "\\", '\\"']
)
plain = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.datetimes()
    | st.dates()
    | st.times()
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)
documents = st.dictionaries(names, values, max_size=5)


@given(documents)
@settings(max_examples=300, deadline=None)
def test_agrees_with_tomllib_on_documents_written_by_tomlkit(document: dict[str, Any]) -> None:
    assert_agrees(tomlkit.dumps(document))


def quoted(name: str, literal: bool) -> str:
    if name and name.isascii() and all(character.isalnum() or character in "_-" for character in name):
        return name
    if literal and "'" not in name and name.isprintable():
        return f"'{name}'"
    return tomlkit.string(name).as_string()


@st.composite
def handwritten(draw: st.DrawFn) -> str:
    """Documents in the ways people write: headers, arrays of tables, dotted keys, inline tables, odd blanks."""
    lines = []
    unique = iter(range(1000))
    booleans = st.booleans()
    blank = st.sampled_from(["", " ", "\t", "  "])

    def name() -> str:
        stem = draw(st.sampled_from(["k", "a.b", "x y", "한", "'q", 'd"q', "t#"]))
        return f"{stem}{next(unique)}"

    def inline(depth: int) -> str:
        kind: str = draw(st.sampled_from(["plain", "list", "table", "multi"] if depth < 3 else ["plain"]))
        if kind == "plain":
            return draw(
                st.sampled_from(
                    [
                        "1",
                        "true",
                        "1979-05-27 07:32:00",
                        "1979-05-27",
                        '"]"',
                        "'}'",
                        '"\\""',
                        "-inf",
                        "0o755",
                        "'''a'b'''",
                    ]
                )
            )
        if kind == "multi":
            return draw(st.sampled_from(['"""\nx = 1\n[t]\n"""', "'''\n'a''\n'''", '"""a"""""', '"""\\""""""']))
        gap = draw(st.sampled_from(["", " ", "\n  ", " # ],\n"]))
        if kind == "list":
            items = [inline(depth + 1) for _ in range(draw(st.integers(0, 3)))]
            return "[" + gap + f",{gap}".join(items) + ("," * bool(items and draw(booleans))) + gap + "]"
        pairs = [pair(depth + 1) for _ in range(draw(st.integers(0, 3)))]
        return "{ " + ", ".join(pairs) + " }"

    def pair(depth: int) -> str:
        parts = [quoted(name(), draw(st.booleans())) for _ in range(draw(st.integers(1, 3)))]
        left, right = draw(blank), draw(blank)
        return f"{left}.{right}".join(parts) + f"{left}={right}" + inline(depth)

    arrays: list[str] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["pair", "table", "array", "again", "comment"]))
        if kind == "comment":
            lines.append(draw(st.sampled_from(["", "# [x] = 1", "\t# 'a"])))
        elif kind == "table":
            prefix = f"{draw(st.sampled_from(arrays))} . " if draw(booleans) and arrays else ""
            lines.append(f"[{draw(blank)}{prefix}{quoted(name(), True)} . {quoted(name(), False)} ]  # c")
        elif kind == "array" or (kind == "again" and not arrays):
            arrays.append(quoted(name(), draw(st.booleans())))
            lines.append(f"[[{draw(blank)}{arrays[-1]}{draw(blank)}]]")
        elif kind == "again":
            lines.append(f"[[{draw(st.sampled_from(arrays))}]]")
        lines.append(draw(blank) + pair(0))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@given(handwritten())
@settings(max_examples=500, deadline=None)
def test_agrees_with_tomllib_on_documents_written_by_people(text: str) -> None:
    assert_agrees(text)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("version = 1\n[account]\n  uid = 1", ("account", "uid"), (3, 3)),
        ("[account]\nuid = 1", ("account",), (1, 2)),
        ("[[override]]\na=1\n[[override]]\n[override.account]\nuid = 2", ("override", 1, "account", "uid"), (5, 1)),
        ("[s]\nv = [\n  { name = 'a' }, # x\n  { name = 'b' },\n]", ("s", "v", 1, "name"), (4, 5)),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), (4, 1)),
        ("a.b.c = 1", ("a", "b", "c"), (1, 5)),
        ('"a.b".c = 1', ("a.b", "c"), (1, 7)),
        ("\r\na = 1\r\nb = 2", ("b",), (3, 1)),
    ],
)
def test_points_at_the_key(text: str, path: Path, expected: tuple[int, int]) -> None:
    assert positions(text)[path] == expected
