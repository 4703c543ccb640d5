"""The python page: the interpreter for the chosen release, and a virtual environment for each service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.page import Page, Sheet
from bai_wizard.pages import TITLES
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.plan import steps
from bai_wizard.pages.python.probe import probe
from bai_wizard.pages.python.settings import PythonSettings

if TYPE_CHECKING:
    from bai_wizard.core.finding import Check


def checks() -> tuple[Check, ...]:
    """The checks of this page."""
    from bai_wizard.pages.python.checks import CHECKS

    return CHECKS


def now(facts: PythonFacts) -> tuple[tuple[str, str], ...]:
    """Interpreters and environments as they are."""
    system = facts.system.value if isinstance(facts.system, Known) else _why(facts.system)
    rows = [
        ("Standalone builds", _versions(facts.standalone)),
        ("pyenv", _versions(facts.pyenv)),
        ("uv", _versions(facts.uv)),
        ("The system's Python", system),
        *((("Processor", f"x86-64-{facts.level}"),) if facts.level else ()),
    ]
    for service, venv in facts.venvs:
        told = _why(venv) if not isinstance(venv, Known) else venv.value.version or "broken: its Python is gone"
        rows.append((f"~/{service}/.venv", told))
    return tuple(rows)


def sheet(settings: PythonSettings, facts: PythonFacts, context: Context) -> Sheet:
    """The version table."""
    from bai_wizard.pages.python.table import sheet as make

    return make(settings, facts, context)


def _versions(fact: Fact[tuple[str, ...]]) -> str:
    return ", ".join(fact.value) or "none" if isinstance(fact, Known) else _why(fact)


def _why(fact: Fact[object]) -> str:
    return f"not known: {fact.reason}" if isinstance(fact, Unknown) else "none"


PAGE = Page(
    name="python",
    title=TITLES["python"],
    summary="The interpreter that the chosen release needs, and a virtual environment for each service.",
    settings=PythonSettings,
    probe=probe,
    steps=steps,
    checks=checks,
    now=now,
    sheet=sheet,
)
