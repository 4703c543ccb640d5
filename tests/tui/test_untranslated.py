"""Nothing that people read escapes translation: demo nodes in a language whose words no English text has.

The language is made of the template of the catalogs: each letter of a message is replaced by another one, those of
its parameters stay. An English sentence that is left on a screen is in no catalog, or is drawn without `tr`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from gettext import NullTranslations
from pathlib import Path
from string import Formatter, ascii_letters

import pytest

from bai_wizard import compose, locale
from bai_wizard.core.page import Finding, ReferenceTable
from bai_wizard.core.step import Blocked, Pending, PlannedStep, Unchanged
from bai_wizard.doctor.run import all_checks, examine
from bai_wizard.locale import tr
from bai_wizard.locale.catalog import Catalog
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.plans import FactCache
from tests.tools.make_catalog import TEMPLATE, read_catalog

# Georgian letters: of the same width as English ones, and in no text of ours.
LETTERS = str.maketrans({letter: chr(0x10D0 + ord(letter.lower()) - ord("a")) for letter in ascii_letters})
DATA = Path(compose.__file__).parent / "data" / "demo"
# Words without which there is no English sentence.
GRAMMAR = (
    "a an and are at be by can cannot does for from has have in is it its no not of on or than that the this to with"
)
SENTENCE = re.compile(
    rf"\b(?:{GRAMMAR.replace(' ', '|')}) [a-z]{{3,}}\b|\b[a-z]{{3,}} (?:{GRAMMAR.replace(' ', '|')})\b"
)


class Pseudo(NullTranslations):
    def gettext(self, message: str) -> str:
        return pseudo(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return pseudo(msgid1 if n == 1 else msgid2)


def pseudo(message: str) -> str:
    parts = []
    for literal, name, _, _ in Formatter().parse(message):
        parts.append(literal.translate(LETTERS).replace("{", "{{").replace("}", "}}"))
        parts.append(f"{{{name}}}" if name is not None else "")
    return "".join(parts)


@pytest.fixture(autouse=True, scope="module")
def language() -> Iterator[None]:
    ids = [text for message in read_catalog(TEMPLATE) if message.id for text in forms(message.id)]
    locale._catalog = Catalog(Pseudo(), {text: pseudo(text) for text in ids if is_format(text)})
    yield
    locale.choose("en")


def forms(id: str | list[str] | tuple[str, ...]) -> list[str]:
    return [id] if isinstance(id, str) else list(id)


def is_format(text: str) -> bool:
    try:
        pseudo(text)
    except ValueError:
        return False
    return True


def escaped(text: str, foreign: str) -> list[str]:
    """The lines with English sentences; those in the output of programs on the node are foreign."""
    return [
        line.strip() for line in text.split("\n") if any(match[0] not in foreign for match in SENTENCE.finditer(line))
    ]


def of_steps(steps: tuple[PlannedStep, ...]) -> Iterator[str]:
    for planned in steps:
        yield from (planned.step.describe(), *planned.step.warnings())
        match planned.verdict:
            case Blocked(reason=reason):
                yield reason
            case Unchanged(note=note):
                yield note
            case Pending(changes=changes, lasting=lasting):
                yield from (*(change.headline() for change in changes), *lasting)


def of_findings(findings: tuple[Finding, ...] | list[Finding]) -> Iterator[str]:
    for each in findings:
        yield from (each.title, each.cause, each.guidance, each.risk)
        for evidence in each.evidence:
            yield from (evidence.what, evidence.where, evidence.found, evidence.expected)


def of_table(table: ReferenceTable) -> Iterator[str]:
    yield from (table.title, *table.headings, *(text for row in table.details for text in row))


@pytest.mark.parametrize("name", ["bare", "broken"])
def test_plans_states_and_findings_of_a_demo_are_translated(name: str) -> None:
    machine = demo_machine(name)
    draft = Draft(machine.host, {"node": {"backend_ai": "26.4"}, "account": {"sudo": "nopasswd"}}, demo=True)
    cache = FactCache(lambda: machine)
    desired = draft.desired()
    plan = cache.fresh_plan(desired)
    texts = [*of_steps(plan.steps), *plan.notes, *(item.reason for item in plan.unset)]
    texts += of_findings(examine(all_checks(), machine, desired.context, {}))
    for page in desired.pages:
        texts += [value for _, value in load(page).now(cache.facts(page))]
        if (table := load(page).reference_table) is not None:
            texts += of_table(table(desired.settings[compose.table_of(page)], cache.facts(page), desired.context))
    foreign = (DATA / f"{name}.toml").read_text(encoding="utf-8")
    assert len(texts) > 100
    assert [line for text in dict.fromkeys(texts) for line in escaped(tr(text), foreign)] == []
