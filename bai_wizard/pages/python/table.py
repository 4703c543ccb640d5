"""The version table as the screen shows it: the manual's rows, what they really need, and what this node has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import WizardError
from bai_wizard.core.examination import PARTS
from bai_wizard.core.facts import Fact, Known, Unknown
from bai_wizard.core.page import Sheet
from bai_wizard.pages.python.catalogue import Build, NoBuild, choose
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.releases import dotted
from bai_wizard.pages.python.versions import Row, manual_rows, rows, which_python
from bai_wizard.pages.python.wanted import choose_python, level_of

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings

HEADINGS = ("Backend.AI", "Python (manual)", "Python needed", "Pants", "on this node", "build")


@dataclass(frozen=True)
class TableRow:
    """One row. `is_chosen` marks that of `node.backend_ai`; `here` says what of it is installed, and by whom."""

    is_chosen: bool
    releases: str
    manual: str
    needed: str
    pants: str
    here: str
    build: str
    source: str

    def cells(self) -> tuple[str, ...]:
        """The texts of the columns."""
        return (self.releases, self.manual, self.needed, self.pants, self.here, self.build)


def sheet(settings: PythonSettings, facts: PythonFacts, context: Context) -> Sheet:
    """The table with the row of `node.backend_ai` marked, and the build that would be taken."""
    shown = table(settings, facts, context)
    marked = next((index for index, row in enumerate(shown) if row.is_chosen), -1)
    return Sheet("Which Python for which release", HEADINGS, tuple(row.cells() for row in shown), marked,
                 _details(settings, facts, context))  # fmt: skip


def _details(settings: PythonSettings, facts: PythonFacts, context: Context) -> tuple[tuple[str, str], ...]:
    try:
        chosen = choose_python(settings, facts, context)
    except WizardError as error:
        return (("Build", str(error)),)
    if chosen.is_here:
        here = ("Version", f"{chosen.version}, here already")
        if not isinstance(facts.fault, Known):
            return (here,)
        return (here, ("Examined", facts.fault.value or f"it runs; {', '.join(PARTS)} and pip are there"))
    lines = build_lines(chosen.build, facts.size) if chosen.build is not None else ()
    return (*lines, ("Note", chosen.wanted.note)) if chosen.wanted.note else lines


def table(settings: PythonSettings, facts: PythonFacts, context: Context) -> tuple[TableRow, ...]:
    """Every row of the finer table, newest first, each with what the manual prints for it."""
    chosen = _chosen(context.backend_ai)
    return tuple(_row(row, row in chosen, settings, facts) for row in reversed(rows()))


def build_lines(build: Build, size: Fact[int]) -> tuple[tuple[str, str], ...]:
    """What is told about a build before it is taken."""
    if isinstance(size, Known):
        bytes_told = f"{size.value / 1e6:.0f} MB"
    else:
        reason = f"not known ({size.reason}); " if isinstance(size, Unknown) else ""
        bytes_told = f"{reason}told by the server when the download begins"
    return (
        ("Version", build.version),
        ("Built on", build.released),
        ("Architecture", f"{build.arch}{f' ({build.level})' if build.level else ''}"),
        ("Flavour", build.flavour),
        ("Size", bytes_told),
        ("sha256", build.sha256),
        ("File", build.file),
    )


def _chosen(release: str) -> tuple[Row, ...]:
    try:
        return which_python(release).rows[-1:] if release else ()
    except WizardError:
        return ()


def _row(row: Row, is_chosen: bool, settings: PythonSettings, facts: PythonFacts) -> TableRow:
    printed = next((manual.python for manual in manual_rows() if row in manual.rows), "not in the manual")
    needed = f"{row.python}, at least {dotted(row.least)}" + ("" if row.certain else " (assumed)")
    try:
        level = level_of(settings, facts.arch)
        build = choose(row.python, facts.arch, least=row.least, flavour=settings.flavour, level=level)
        told = f"{build.version} ({build.released})"
    except NoBuild:
        told = "none"
    return TableRow(is_chosen, row.releases, printed, needed, row.pants or "-", _here(row, facts), told, row.source)


def _here(row: Row, facts: PythonFacts) -> str:
    """`3.13.7 (standalone), 3.13.2 (system, too old)`, or a dash."""
    system: Fact[tuple[str, ...]] = Known((facts.system.value,)) if isinstance(facts.system, Known) else Known(())
    found = []
    for who, versions in (
        ("standalone", facts.standalone),
        ("pyenv", facts.pyenv),
        ("uv", facts.uv),
        ("system", system),
    ):
        if isinstance(versions, Unknown):
            found.append(f"{who}: {versions.reason}")
        for version in versions.value if isinstance(versions, Known) else ():
            number = tuple(int(part) for part in version.split("."))
            if dotted(number[:2]) == row.python:
                found.append(f"{version} ({who}{'' if number >= row.least else ', too old'})")
    return ", ".join(found) or "-"
