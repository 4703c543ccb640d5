"""The messages below the front ends, in code and data, which are English without marks for translation.

Every literal and every f-string that reads like prose is a message, so that a new one cannot be forgotten; its
expressions become the parameters of the template that translators see.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

# What a front end is made of: its sentences are marked.
MARKED = ("ui", "locale", "cli.py")
# The keys of the files in `data` whose values are read by people, by file. "*": every sentence.
DATA = {
    "checks.toml": ("title", "problem", "cause", "fix", "risk"),
    "errors.toml": ("cause", "fix"),
    "accelerators.toml": ("load_why", "load_comment", "only"),
    "docker.toml": ("note", "what"),
    "handover.toml": ("text",),
    "images.toml": ("known",),
    "ports.toml": ("what",),
    "storage.toml": ("*",),
    "tuning.toml": ("title", "what", "reason"),
}

# Two words, or one with a capital or a parameter beside it.
PROSE = re.compile(
    r"[A-Za-z]{2,}[,;:]? (?:[a-z]{2,}|a\b|\{)|\} [a-z]{3,}|^[A-Z]?[a-z]{3,}: |[a-z]{4,} \{|^[a-z]{4,} [A-Z]"
)
# Calls whose texts nobody reads as a sentence: logs for developers, patterns, programs that are run, and messages
# that `make_catalog` finds itself.
NOT_READ = {
    "debug", "debug_exception", "compile", "search", "match", "fullmatch", "finditer", "findall", "sub", "query",
    "run", "tr", "ntr", "N_", "add_argument", "getLogger", "startswith", "endswith", "removeprefix", "removesuffix",
    "partition", "rpartition", "count", "TypeVar", "AssertionError",
}  # fmt: skip
# What a text contains that is written to a file or given to a program.
CODE = re.compile(
    r"^#|^//|^<|^\[|\n\[|\n {4}|\nimport |^[A-Z][A-Za-z-]+=|^[A-Z]\w+(-\w+)?: \{[^}]*\}$|^Acquire::|^--|^-[a-zA-Z]\b"
    r"|^(apt|dpkg|docker|systemctl|chown|chmod|setfacl|nft|getent|import)[a-z-]* [a-z {}-]+$"
    r"|^eval |^export |^if \[\[ |__fish_|_arguments |ALL=\(|^Package:"
    r"|^\(\?|\\[bdsSw]|^\^|^~@|^(a an and|pid uid|s ms us) | nofile$|[a-z]\|[a-z A-Z]"
)
LARGEST = 12


def messages(source: str) -> Iterator[str]:
    """The messages of a module, as templates."""
    tree = ast.parse(source)
    hidden = _hidden(tree)
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            words = _words(scope)
            for node in ast.walk(scope):
                vars(node).setdefault("words", words)
    seen: set[int] = set()
    for node in ast.walk(tree):
        if id(node) in hidden or id(node) in seen or not _is_text(node):
            continue
        seen |= {id(each) for each in ast.walk(node) if each is not node and _is_part(node, each)}
        for template in _templates(node, vars(node).get("words", {})):
            if _is_prose(template):
                yield template.strip()


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and (_is_string(node.left) or _is_string(node.right))
    return _is_string(node)


def _is_string(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_part(whole: ast.AST, node: ast.AST) -> bool:
    """Whether a node is a piece of this text, and no message of its own."""
    pieces = {id(whole)}
    for each in ast.walk(whole):
        if id(each) not in pieces:
            continue
        if isinstance(each, ast.BinOp):
            pieces |= {id(side) for side in (each.left, each.right) if _is_string(side)}
        elif isinstance(each, ast.JoinedStr):
            specs = (value.format_spec for value in each.values if isinstance(value, ast.FormattedValue))
            pieces |= {id(piece) for piece in (*each.values, *specs) if piece is not None}
    return id(node) in pieces


def _hidden(tree: ast.AST) -> set[int]:
    """The nodes of docstrings, annotations, comparisons, and arguments that nobody reads."""
    result: set[int] = set()
    for node in ast.walk(tree):
        hidden: list[ast.AST | None] = []
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            hidden += [
                each for each in node.body if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
            ]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            hidden.append(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign):
            hidden.append(node.annotation)
        if isinstance(node, ast.Call) and _name(node.func) in NOT_READ:
            hidden += [*node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(node, ast.Subscript):
            hidden.append(node.slice)
        if isinstance(node, ast.Compare | ast.Assert | ast.MatchValue):
            hidden.append(node)
        for each in hidden:
            if each is not None:
                result |= {id(inner) for inner in ast.walk(each)}
    return result


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _words(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, list[str]]:
    """The local names that only ever are one of a few words, such as `are = "is" if one else "are"`."""
    values: dict[str, list[str] | None] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                words = _choices(node.value) if isinstance(target, ast.Name) else None
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        before = values.get(name.id, [])
                        values[name.id] = None if words is None or before is None else [*before, *words]
        if isinstance(node, ast.For | ast.comprehension | ast.AugAssign | ast.NamedExpr):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    values[name.id] = None
    return {name: words for name, words in values.items() if words}


def _choices(node: ast.expr) -> list[str] | None:
    """The values of an expression that is one of several short texts."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if len(node.value.split()) < 3 else None
    if isinstance(node, ast.IfExp):
        one, other = _choices(node.body), _choices(node.orelse)
        return None if one is None or other is None else [*one, *other]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):  # "s" * (count != 1)
        word = _choices(node.left)
        return None if word is None else ["", *word]
    return None


def _templates(node: ast.AST, words: dict[str, list[str]]) -> list[str]:
    parts = list(_parts(node, words))
    size = 1
    for choices in parts:
        size *= len(choices)
    if size > LARGEST:
        parts = [choices if len(choices) == 1 else ["{word}"] for choices in parts]
    return list(dict.fromkeys("".join(_numbered(chosen)) for chosen in product(*parts)))


def _parts(node: ast.AST, words: dict[str, list[str]]) -> Iterator[list[str]]:
    """The pieces of a text, each with its alternatives; expressions as placeholders."""
    if isinstance(node, ast.BinOp):
        yield from _parts(node.left, words)
        yield from _parts(node.right, words)
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _parts(value, words)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield [node.value.replace("{", "{{").replace("}", "}}")]
    else:
        inner = node.value if isinstance(node, ast.FormattedValue) else node
        assert isinstance(inner, ast.expr)
        choices = words.get(inner.id) if isinstance(inner, ast.Name) else _choices(inner)
        yield choices if choices else [f"{{{_placeholder(inner)}}}"]


def _numbered(pieces: tuple[str, ...]) -> Iterator[str]:
    """The pieces, with a number after the names of different expressions that would have the same name."""
    names: dict[str, str] = {}
    used: dict[str, int] = {}
    for piece in pieces:
        if not re.fullmatch(r"\{[^{}]+\}", piece):
            yield piece
            continue
        expression, name = piece[1:-1], _short(piece[1:-1])
        if expression not in names:
            used[name] = used.get(name, 0) + 1
            names[expression] = name if used[name] == 1 else f"{name}{used[name]}"
        yield f"{{{names[expression]}}}"


def _placeholder(node: ast.expr) -> str:
    return ast.unparse(node).replace("{", "(").replace("}", ")")


# Names in code that say nothing to a translator.
RENAMED = {"join": "list", "str": "text", "len": "count", "strerror": "reason", "lower": "reason", "error": "reason"}


def _short(expression: str) -> str:
    """The name of a parameter: the last word of the expression that it stands for."""
    node = ast.parse(expression, mode="eval").body if _parses(expression) else None
    while node is not None:
        if isinstance(node, ast.Call):
            name = _name(node.func)
            if name in RENAMED and name != "str":
                return RENAMED[name]
            if node.args:
                node = node.args[0]
                continue
            node = node.func
        elif isinstance(node, ast.Attribute):
            return RENAMED.get(node.attr, node.attr.strip("_"))
        elif isinstance(node, ast.Name):
            return RENAMED.get(node.id, node.id.strip("_").lower())
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.BoolOp):
            node = node.values[0]
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            break
    return "what"


def _parses(expression: str) -> bool:
    try:
        ast.parse(expression, mode="eval")
    except SyntaxError:
        return False
    return True


def _is_prose(template: str) -> bool:
    bare = template.strip()
    return bool(PROSE.search(bare)) and not CODE.search(bare)


def of_code(package: Path) -> Iterator[tuple[str, str]]:
    """Every message of the modules that are not marked, and where it is."""
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in MARKED:
            yield from ((text, str(path.relative_to(package.parent))) for text in messages(path.read_text("utf-8")))


def of_data(folder: Path) -> Iterator[tuple[str, str]]:
    """Every message of the data files, and the path of its key."""
    for file, keys in DATA.items():
        for path, text in _values(tomllib.loads((folder / file).read_text("utf-8"))):
            if path[0] != "facts" and (path[-1] in keys or ("*" in keys and " " in text and _is_prose(text))):
                yield text, f"{file}: {'.'.join(path)}"


def _values(table: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in table.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _values(each, (*path, key))
            elif isinstance(each, str):
                yield (*path, key), each
