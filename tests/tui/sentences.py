"""Every sentence that goes through `tr`: those written in the code, and those of the pages' settings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from bai_wizard import pages
from bai_wizard.pages.fields import notes
from bai_wizard.wizard.shapes import shapes

PACKAGE = Path(pages.__file__).parents[1]
# Words that are looked up when they are drawn stand in these places.
TABLES = ("ACTIONS", "KEYS", "HELP", "WORDS", "INTERRUPTS", "FIRST_KEYS", "LABELS")


def in_code() -> set[str]:
    """The literal sentences of every call of `tr`, and of the tables that are translated later."""
    found: set[str] = set()
    for folder in ("tui", "wizard", "headless"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(isinstance(node, ast.Name) and node.id == "tr" for node in ast.walk(tree)) or folder == "tui":
                found |= set(_calls(tree)) | set(_tables(tree))
    return found


def _calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr" and node.args:
            for inner in ast.walk(node.args[0]):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.value


def _tables(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            name = next((target.id for target in targets if isinstance(target, ast.Name)), "")
            if name in TABLES:
                yield from _sentences(node.value, second=name == "KEYS")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Keys":
            for argument in node.args:
                yield from _sentences(argument, second=True)


def _sentences(node: ast.AST, *, second: bool) -> Iterator[str]:
    """Values of a dictionary; of a tuple of strings the first, or the second, element."""
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _sentences(value, second=second)
    elif isinstance(node, ast.Tuple) and all(isinstance(item, ast.Constant) for item in node.elts):
        yield from _sentences(node.elts[1 if second else 0], second=second)
    elif isinstance(node, ast.Tuple):
        for item in node.elts:
            yield from _sentences(item, second=second)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def of_settings() -> set[str]:
    """Labels, helps and meanings of every field, titles and summaries of every page."""
    found: set[str] = set()
    for name in pages.ORDER:
        page = pages.load(name)
        found |= {page.title, page.summary}
    for table in pages.TABLES:
        found |= set(_of_model(pages.settings_of(table)))
    return {text for text in found if text}


def _of_model(model: type[BaseModel]) -> Iterator[str]:
    for note in notes(model):
        if note.name != "apply":
            yield note.label
            yield note.help
            yield from note.choices.values()
    for shape in shapes(model):
        for inner in (shape.models or {}).values():
            yield (inner.__doc__ or "").split("\n")[0]
            yield from _of_model(inner)
