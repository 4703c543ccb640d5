"""Update the catalogs of translations from the code: python -m tests.tools.make_catalog (make catalog).

Writes the template (`bai-wizard.pot`), merges it into the catalog of each language (`bai-wizard.po`) and compiles
those (`bai-wizard.mo`). A changed sentence keeps its translation, marked as fuzzy until a translator has checked it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from bai_wizard import locale, pages
from bai_wizard.cli import parser
from bai_wizard.commands.help import texts as help_texts
from bai_wizard.pages.fields import SettingsPart
from bai_wizard.ui.form_fields import form_fields
from tests.tools.messages import of_code, of_data

CHECKOUT = Path(__file__).parents[2]
FOLDER = Path(locale.__file__).parent
TEMPLATE = FOLDER / "bai-wizard.pot"
# Functions that translate or mark, with the number of arguments that are sentences.
FUNCTIONS = {"tr": 1, "ntr": 2, "N_": 1}
# A comment for translators, on the lines above a call.
COMMENT = "# Translators:"
# New sentences for which no similar one is searched any more.
MANY = 40
HEADER = "# Translations of bai-wizard. Distributed under the license of the project (Apache-2.0).\n#"


def catalog_path(language: str) -> Path:
    """The catalog's source; the compiled one is beside it."""
    return FOLDER / language / "LC_MESSAGES" / "bai-wizard.po"


def template() -> Catalog:
    """Every sentence that is translated: in the code, in the data, and the texts of the pages and their settings."""
    result = Catalog(domain="bai-wizard", header_comment=HEADER, project="bai-wizard", fuzzy=False)
    for path in sorted((CHECKOUT / "bai_wizard").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for text, comment in in_source(source):
            result.add(text, locations=[(str(path.relative_to(CHECKOUT)), 1)], auto_comments=comment)
    package = CHECKOUT / "bai_wizard"
    unmarked = (*of_code(package), *of_data(package / "data"))
    of_help = ((text, "--help") for text in help_texts(parser()))
    for text, where in (*of_settings(), *of_help, *unmarked):
        # The same sentence may describe many settings: the first is enough to find it.
        if text and text not in result:
            result.add(text, auto_comments=[where])
    return result


def in_source(source: str) -> Iterator[tuple[str | tuple[str, str], list[str]]]:
    """The sentences of all calls, and the comments for their translators. SystemExit if one cannot be extracted."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            texts = [text for argument in node.args[: FUNCTIONS[node.func.id]] for text in _literals(argument)]
            if node.func.id == "ntr":
                if len(texts) != 2:
                    sys.exit(f"ntr needs two literals: {ast.unparse(node)}")
                yield (texts[0], texts[1]), _comment(lines, node.lineno)
            else:
                yield from ((text, _comment(lines, node.lineno)) for text in texts)


def _literals(node: ast.expr) -> Iterator[str]:
    """A literal, or those of a conditional expression; none for a variable, whose texts are marked elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.JoinedStr | ast.BinOp):
        sys.exit(f"not a literal: {ast.unparse(node)}; use placeholders")


def _comment(lines: list[str], number: int) -> list[str]:
    first = number - 2
    while first >= 0 and lines[first].strip().startswith("#"):
        first -= 1
    text = " ".join(line.strip().removeprefix("#").strip() for line in lines[first + 1 : number - 1])
    _, mark, comment = f"# {text}".partition(COMMENT)
    return [comment.strip()] if mark else []


def of_settings() -> Iterator[tuple[str, str]]:
    """Titles and summaries of all pages; labels, help texts and meanings of all fields; and what each one is."""
    for name in pages.ORDER:
        page = pages.load(name)
        yield page.title, f"page {name}: title"
        yield page.summary, f"page {name}: summary"
    for table in pages.TABLES:
        yield from _of_model(table, pages.settings_of(table))


def _of_model(path: str, model: type[SettingsPart]) -> Iterator[tuple[str, str]]:
    for note in model.infos.values():
        if note.name != "apply":
            yield note.label, f"{path}.{note.name}: label"
            yield note.help, f"{path}.{note.name}: help"
            yield from ((text, f"{path}.{note.name}: {word}") for word, text in note.choices.items())
    for field in form_fields(model):
        for name, inner in (field.models or {}).items():
            yield (inner.__doc__ or "").split("\n")[0], f"{path}.{field.info.name}: {name}"
            yield from _of_model(f"{path}.{field.info.name}", inner)


def read_catalog(path: Path) -> Catalog:
    """Read a .po file or the template."""
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


def main() -> None:
    """Write the template, and update and compile the catalogs of all languages."""
    found = template()
    if TEMPLATE.exists():
        found.creation_date = read_catalog(TEMPLATE).creation_date
    _write(TEMPLATE, found)
    for language in locale.LANGUAGES[1:]:
        path = catalog_path(language)
        catalog = read_catalog(path)
        new = sum(1 for message in found if message.id and message.id not in catalog)
        # Finding the sentence that a new one was takes half a second each.
        catalog.update(found, no_fuzzy_matching=new > MANY, update_creation_date=False)
        catalog.version = found.version
        _write(path, catalog)
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalog)
        open_ = [message for message in catalog if message.id and (message.fuzzy or not is_translated(message))]
        print(f"{language}: {len(catalog)} messages, {len(open_)} to translate")


def is_translated(message: Message) -> bool:
    """Whether every plural form has a text."""
    return all(message.string) if isinstance(message.string, tuple) else bool(message.string)


def _write(path: Path, catalog: Catalog) -> None:
    # Without line numbers, and sorted: the files change only with the sentences.
    with path.open("wb") as file:
        write_po(
            file,
            catalog,
            width=118,
            sort_output=True,
            include_lineno=False,
            include_previous=True,
            ignore_obsolete=True,
        )


if __name__ == "__main__":
    main()
