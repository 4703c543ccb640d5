"""No decision is made by matching display text: data has fields and types for that.

A heuristic over the syntax trees: where a sentence of ours (a description, a reason, the words of an exception, a
translated label) is compared, searched, or looked up, it must be in the list below, with the reason why it may be.
What other programs print is foreign text and may be matched: that is the only way to understand it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache import CHECKOUT

PACKAGE = CHECKOUT / "bai_wizard"
# Attributes and methods whose values are sentences of ours.
SENTENCES = {
    "cause", "comment", "describe", "explain", "guidance", "headline", "known_after", "label", "note", "reason",
    "risk", "subject", "summary", "title", "warnings",
}  # fmt: skip
# What searches a text or a table, or takes a text apart.
SEARCHES = {
    "count", "endswith", "find", "findall", "finditer", "fullmatch", "get", "index", "match", "partition",
    "removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "search", "split", "startswith",
}  # fmt: skip
# What gives another form of a text.
TEXT_METHODS = {"casefold", "format", "join", "lower", "replace", "split", "splitlines", "strip", "upper"}

# Place, with the text of the expression → why it may be.
ALLOWED: dict[tuple[str, str], str] = {
    (
        "ui/plain/prompt.py",
        "self._line(f\"{question} ({tr('yes')}/{tr('no')}) \").lower() in ('y', 'yes', tr('yes'))",
    ): "what the operator types, in the language of the question",
    ("ui/change_words.py", "change.subject.endswith('/')"): "how the path of a directory is written",
    ("ui/tui/screens/finding.py", "COMMAND.findall(finding.guidance)"): "commands in backticks, shown to be copied",
    ("ui/fleet/text.py", "entry.title == entry.id"): "a step of 0.1.0, which has no title, is not named twice",
    ("steps/hosts_lines.py", "self.comment.endswith(VIRTUAL)"): "a mark of the format of our block in /etc/hosts",
    ("steps/accounts.py", "account.comment != COMMENT"): "the GECOS field: the mark of accounts that the wizard made",
}


class Function:
    """One function's names: exceptions that it catches, and variables that are given a sentence."""

    def __init__(self, body: ast.AST) -> None:
        self.nodes = list(_within(body))
        self.caught = {node.name for node in self.nodes if isinstance(node, ast.ExceptHandler) and node.name}
        self.carriers: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and self.gives(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.carriers |= {target.id for target in targets if isinstance(target, ast.Name)}

    def gives(self, node: ast.AST | None) -> bool:
        """Whether an expression has a sentence of ours as its value, or one of its values."""
        if isinstance(node, ast.Name):
            return node.id in self.carriers
        if isinstance(node, ast.Attribute):
            return node.attr in SENTENCES or (node.attr == "args" and self._is_caught(node.value))
        if isinstance(node, ast.Call):
            return self._call_gives(node)
        if isinstance(node, ast.FormattedValue):
            return self._is_caught(node.value) or self.gives(node.value)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return self.gives(node.elt)
        if isinstance(node, ast.Subscript | ast.Starred):
            return self.gives(node.value)
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.BoolOp | ast.IfExp | ast.Tuple | ast.List | ast.Set):
            return any(self.gives(child) for child in ast.iter_child_nodes(node))
        return False

    def _call_gives(self, node: ast.Call) -> bool:
        if isinstance(node.func, ast.Attribute):
            is_text = node.func.attr in TEXT_METHODS and self.gives(node.func.value)
            return node.func.attr in SENTENCES or is_text
        name = getattr(node.func, "id", "")
        return name == "tr" or (name in ("str", "repr") and bool(node.args) and self._is_caught(node.args[0]))

    def _is_caught(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self.caught

    def decides(self, node: ast.AST) -> bool:
        """Whether `node` compares, searches, or looks up a sentence."""
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if not any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops):
                return False
            is_empty = any(isinstance(side, ast.Constant) and side.value in ("", None) for side in sides)
            return not is_empty and any(self.gives(side) for side in sides)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEARCHES:
            arguments = node.args[: 1 if node.func.attr == "get" else 2]
            return self.gives(node.func.value) or any(self.gives(argument) for argument in arguments)
        if isinstance(node, ast.Subscript):
            return self.gives(node.slice)
        return isinstance(node, ast.Match) and self.gives(node.subject)


def decisions(source: str) -> Iterator[str]:
    """The expressions that decide by a sentence."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in map(Function, [*functions, tree]):
        yield from (ast.unparse(node) for node in function.nodes if function.decides(node))


def _within(body: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, or of a module, without those of functions in it."""
    for child in ast.iter_child_nodes(body):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _within(child)


def found_in(path: Path) -> set[tuple[str, str]]:
    return {(path.relative_to(PACKAGE).as_posix(), text) for text in decisions(path.read_text())}


def test_no_decision_is_made_by_display_text() -> None:
    result = {each for path in PACKAGE.rglob("*.py") for each in found_in(path)}
    # Releases of Python write quotes in different ways.
    allowed = {(place, ast.unparse(ast.parse(text))) for place, text in ALLOWED}
    unexpected = sorted(result - allowed)
    assert not unexpected, "give the data a field or a type:\n" + "\n".join(map(str, unexpected))
    assert not sorted(allowed - result), "no longer there: take it off the list"
    assert all(ALLOWED.values())


@pytest.mark.parametrize(
    "source",
    [
        'def f(step): return "image" in step.describe()',
        'def f(step):\n    words = step.describe().lower()\n    return words.startswith("docker")',
        'def f(change): return change.headline() == "x"',
        'def f(run):\n    try:\n        run()\n    except OSError as error:\n        return "missing" in str(error)',
        'def f(run):\n    try:\n        run()\n    except OSError as error:\n'
        '        text = f"a: {error}"\n        return re.search("x", text)',
        'def f(run):\n    try:\n        run()\n    except StateUnknown as error:\n        return error.args[0] '
        '== "x"',
        'def f(fact, waits): return waits[fact.reason]',
        'def f(verdict, waits): return waits.get(verdict.known_after)',
        'def f(button): return button.label == tr("Apply")',
        'def f(x): return x == tr("Apply")',
        'def f(finding):\n    match finding.title:\n        case "x":\n            return 1',
    ],
)  # fmt: skip
def test_such_decisions_are_found(source: str) -> None:
    assert list(decisions(source))


@pytest.mark.parametrize(
    "source",
    [
        'def f(step): return step.kind == "image"',
        'def f(verdict): return verdict.reason == ""',
        'def f(answer): return "not allowed" in answer.out',
        'def f(step): return f"{step.describe()}: done"',
    ],
)
def test_others_are_not(source: str) -> None:
    assert not list(decisions(source))
