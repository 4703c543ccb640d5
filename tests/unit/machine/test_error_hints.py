"""The table of error hints: every entry matches its example, and no hint is hard-coded in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from bai_wizard.data import read_toml
from bai_wizard.node.error_hints import ErrorHint, error_hints, explain_os_error, find_hint

ROOT = Path(__file__).parents[3]
# The values that the callers pass, by source; {what} and {more} are groups of the pattern.
VALUES = {
    "apt": {"failure", "tail"},
    "download": {"host", "proxy", "detail", "reason", "location"},
    "file": {"detail", "file_system", "link"},
}
HINTS = [
    (source, number, hint) for source in read_toml("errors.toml") for number, hint in enumerate(error_hints(source))
]
PYTHON = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in ROOT.glob("bai_wizard/**/*.py")
}


def parts(text: str) -> list[str]:
    """The words of a text between its placeholders."""
    return [literal for literal, *_ in Formatter().parse(text)]


@pytest.mark.parametrize(("source", "number", "hint"), HINTS, ids=[f"{source}-{n}" for source, n, _ in HINTS])
def test_an_example_finds_its_entry(source: str, number: int, hint: ErrorHint) -> None:
    matching = [other for other in error_hints(source) if re.search(other.pattern, hint.example)]
    assert matching[0] == hint
    known = {"what", "more"} & set(re.compile(hint.pattern).groupindex) | VALUES.get(source, set())
    names = {name for text in (hint.cause, hint.fix) for _, name, *_ in Formatter().parse(text) if name}
    assert names <= known
    found = find_hint(source, hint.example, **{name: f"<{name}>" for name in VALUES.get(source, ())})
    assert found is not None
    assert found.retry == hint.retry
    assert all(part.strip(" ({") in found.text for part in parts(hint.cause))
    assert not re.search(r"\(\)|[{}]|\.\.|\.$", found.text)


def literals(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_no_hint_is_written_in_python() -> None:
    long = {part.strip() for _, _, hint in HINTS for text in (hint.cause, hint.fix) for part in parts(text)}
    texts = {name: "\n".join(literals(tree)) for name, tree in PYTHON.items()}
    assert [(name, part) for name, text in texts.items() for part in long if len(part) > 40 and part in text] == []
    own = [tree for name, tree in PYTHON.items() if name.startswith(("bai_wizard/node/", "bai_wizard/resources/"))]
    assert [sentence for tree in own for sentence in tables_of_hints(tree)] == []


def tables_of_hints(tree: ast.AST) -> Iterator[str]:
    """Sentences of dictionaries with errors of the kernel as keys, and of pairs of a pattern and a sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and any("errno." in ast.unparse(key) for key in node.keys if key):
            yield ast.unparse(node)
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and len(list(literals(node))) == 2:
            sentence = list(literals(node))[1]
            if len(sentence.split()) > 4:
                yield sentence


def test_unknown_errors_keep_their_message() -> None:
    assert find_hint("uv", "something new") is None
    assert explain_os_error("file", OSError(95, "Operation not supported")) == "operation not supported"
    assert explain_os_error("sysctl", OSError(22, "Invalid argument")) == "the kernel does not accept this value"


def test_errors_of_urllib3_are_explained_by_their_kind() -> None:
    from urllib3 import exceptions

    from bai_wizard.node.http import explain_transport_error

    proxy = exceptions.ProxyError("x", OSError("Tunnel connection failed: 407 Proxy Authentication Required"))
    cut = exceptions.IncompleteRead(1, 2)
    assert explain_transport_error(proxy, "https://m/x", "http://u:p@proxy:3128").text.startswith(
        "the proxy proxy:3128 requires a login"
    )
    assert explain_transport_error(cut, "https://m/x", "") == (
        "m closed the connection before the end of the file",
        True,
    )
    assert explain_transport_error(exceptions.DecodeError("a: odd"), "https://m/x", "") == ("m: odd", True)
