"""Small edits of Python source that a test should notice: one flag, one comparison, one statement."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

OPPOSITE: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
# Limits that only end a hang or bound memory: with one second or byte more, or the default, the wizard does the same.
# Tests replace them by small values and are not to depend on the real ones.
LIMITS = re.compile(
    r"(?:^|_)(?:attempts|chunk|days|deadline|envelope|interval|largest|lines|longest|max|most|newest|patience|pause"
    r"|piece|seconds|silence|slice|timeout|wait)(?:_|$)",
    re.IGNORECASE,
)
# From this length on, where a shown text is cut is a limit as well.
LONG = 20
# Calls without an effect that a test could see, except in the log.
SILENT = {"debug", "debug_exception", "mention"}


@dataclass(frozen=True)
class Mutation:
    """Replace `before` at character `start` of a file with `after`; `function` is its function's `__qualname__`."""

    file: str
    line: int
    start: int
    before: str
    after: str
    function: str

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) or "(nothing)" for text in (self.before, self.after))
        return f"{self.file}:{self.line}: {before[:100]} -> {after[:100]}"

    def apply(self, text: str) -> str:
        """The text of the file with the edit."""
        assert text.startswith(self.before, self.start)
        return text[: self.start] + self.after + text[self.start + len(self.before) :]


def mutations_of(file: str, text: str) -> list[Mutation]:
    """All edits of a file, in the order of the source; see `is_python`."""
    return sorted(_Finder(file, text).found(), key=lambda each: (each.start, each.after))


def is_python(text: str) -> bool:
    """Whether a text can be compiled; a few edits, such as of starred tuples, cannot."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


class _Finder:
    def __init__(self, file: str, text: str) -> None:
        self._file, self._text = file, text
        self._lines = [0]
        for line in text.encode().splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line.decode()))
        self._bytes = text.encode().splitlines(keepends=True)

    def found(self) -> Iterator[Mutation]:
        yield from self._below(ast.parse(self._text), "", "")

    def _at(self, line: int, column: int) -> int:
        """The character offset of a position of `ast`, whose columns are bytes."""
        return self._lines[line - 1] + len(self._bytes[line - 1][:column].decode())

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _edit(self, start: int, end: int, after: str, function: str) -> Mutation:
        line = self._text.count("\n", 0, start) + 1
        return Mutation(self._file, line, start, self._text[start:end], after, function)

    def _replace(self, node: ast.expr | ast.stmt, after: str, function: str) -> Mutation:
        return self._edit(*self._span(node), after, function)

    def _below(self, parent: ast.AST, function: str, prefix: str) -> Iterator[Mutation]:
        """`prefix`: what the `__qualname__` of a definition here begins with."""
        if isinstance(parent, ast.FunctionDef):
            function = f"{prefix}{parent.name}"
            prefix = f"{function}.<locals>."
        elif isinstance(parent, ast.ClassDef):
            prefix = f"{prefix}{parent.name}."
        for name, value in ast.iter_fields(parent):
            if name in ("annotation", "returns", "decorator_list", "bases", "msg", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_skipped(child):
                    yield from self._edits(child, function)
                    yield from self._below(child, function, prefix)

    def _edits(self, node: ast.AST, function: str) -> Iterator[Mutation]:
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                start, end = self._span(left)[1], self._span(right)[0]
                between = self._text[start:end]
                if "(" not in between and ")" not in between and "\n" not in between:
                    yield self._edit(start, end, f" {OPPOSITE[type(operator)]} ", function)
            case ast.BoolOp(values=[left, right, *_]):
                start, end = self._span(left)[1], self._span(right)[0]
                between = self._text[start:end]
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                if old in between:
                    yield self._edit(start, end, between.replace(old, new, 1), function)
            case ast.UnaryOp(op=ast.Not()):
                yield self._replace(node, self._text[slice(*self._span(node))].removeprefix("not "), function)
            case ast.Constant(value=bool() as value):
                yield self._replace(node, str(not value), function)
            case ast.Constant(value=int() as value):
                after = oct(value ^ 0o44) if self._text[self._span(node)[0] :][:2] == "0o" else str(value + 1)
                yield self._replace(node, after, function)
            case ast.Expr(value=ast.Call() as call) if _name(call.func) not in SILENT:
                yield self._replace(node, "pass", function)
            case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(
                test, (ast.Compare, ast.NamedExpr, ast.UnaryOp)
            ):
                yield self._replace(test, f"not ({self._text[slice(*self._span(test))]})", function)
            case ast.Call(keywords=[*_, ast.keyword(arg=str() as name) as last]) if not (
                _makes_error(node) or LIMITS.search(name)
            ):
                yield from self._without(last, function)
            case (
                ast.List(elts=[*_, ast.Constant(value=str()) as last])
                | ast.Tuple(elts=[_, *_, ast.Constant(value=str()) as last])
            ):
                yield from self._without(last, function)

    def _without(self, node: ast.expr | ast.keyword, function: str) -> Iterator[Mutation]:
        """Remove the last argument or element, together with the comma before it."""
        start, end = self._span(node)
        before = self._text[:start].rstrip()
        if before.endswith(","):
            yield self._edit(len(before) - 1, end, "," if before[:-1].rstrip().endswith("(") else "", function)


def _makes_error(node: ast.Call) -> bool:
    return _name(node.func).endswith(("Error", "Failed", "Unknown", "Problem"))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_skipped(node: ast.AST) -> bool:
    """Docstrings, imports for type checkers, texts of errors, the log and limits are not part of the behavior."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if name.isupper():
            return bool(LIMITS.search(name)) and not any(isinstance(each, ast.Call) for each in ast.walk(node))
        case ast.keyword(arg=str() as name, value=ast.Constant()):
            return bool(LIMITS.search(name))
        case ast.Slice(upper=ast.Constant(value=int() as end)):
            return end >= LONG
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case (
            ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="TYPE_CHECKING" | "__all__")])
        ):
            return True
        case ast.Expr(value=ast.Call() as call):
            return _name(call.func) in SILENT
        case ast.JoinedStr():
            return True
    return False
