"""Regular expressions: correct on the oldest supported interpreter, and no catastrophic backtracking.

Possessive quantifiers and atomic groups came with Python 3.11 and match wrongly in Debian 12's 3.11.2.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bai_wizard

PACKAGE = Path(bai_wizard.__file__).parent
REPOSITORY = PACKAGE.parent
# Strings that are not patterns: names of the language C++, its compiler and its library.
NO_PATTERN = re.compile(r"(?:\b[cCgG]|std[cC])\+\+")
# Only what may be one is parsed.
SUSPECT = re.compile(r"[*+?}]\+|\(\?>")


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string literal except docstrings; f-strings as pieces and as a whole."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docstrings:
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            yield node.lineno, text
        elif isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values),
            )


def is_possessive(text: str) -> bool:
    """Whether the text, read as a pattern, has what must not be used."""
    text = NO_PATTERN.sub("", text)
    if not SUSPECT.search(text):
        return False
    try:
        parsed = str(re._parser.parse(text).data)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError):
        return False
    return "POSSESSIVE_REPEAT" in parsed or "ATOMIC_GROUP" in parsed


@pytest.mark.parametrize("folder", ["bai_wizard", "integrations", "packaging"])
def test_no_pattern_triggers_a_bug_of_python_3_11_2(folder: str) -> None:
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            assert not is_possessive(text), f"{path}:{line}: {text!r}"


@pytest.mark.parametrize(
    "text", [r"a*+b", r"a++b", r"\s?+x", r"(?:ab)*+", r"[ab]{1,3}+", "(?>ab)", rf"x{'{2}'}+", r"[^/]*+/"]
)
def test_the_search_finds_them(text: str) -> None:
    assert is_possessive(text)


@pytest.mark.parametrize("text", [r"\++", "g++", r"C++17", r"[*+]+", "a+", r"\*+", "1 + 2"])
def test_the_search_leaves_others(text: str) -> None:
    assert not is_possessive(text)


PROBE = """
import pkgutil, re, sys
parse = re._parser.parse
seen = []
def kept(text, *rest, **named):
    parsed = parse(text, *rest, **named)
    seen.append((text, parsed))
    return parsed
re._parser.parse = kept
re._compiler._parser.parse = kept
import bai_wizard
for info in pkgutil.walk_packages(bai_wizard.__path__, "bai_wizard."):
    if not info.name.endswith("__main__"):
        __import__(info.name)
# packaging writes its patterns without them where the interpreter has the bug.
theirs = ("(?P<epoch>", "# Only match for the identity operator")
seen = [(text, parsed) for text, parsed in seen if not any(mark in str(text) for mark in theirs)]
own = [text for text, parsed in seen if "POSSESSIVE_REPEAT" in str(parsed.data) or "ATOMIC_GROUP" in str(parsed.data)]
print(len(seen), own)
"""


def test_no_pattern_of_a_module_is_compiled_with_them() -> None:
    """Also those that are put together from pieces, and those of our dependencies, when everything is imported."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=120)
    count, _, result = done.stdout.strip().splitlines()[-1].partition(" ")
    assert int(count) > 100
    assert result == "[]"
