"""Which Python is wanted on this node, and which one that is then: an interpreter that is here, or a build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bai_wizard.core.context import Context
from bai_wizard.core.errors import WizardError
from bai_wizard.core.facts import Known
from bai_wizard.pages.python.catalogue import Build, NoBuild, choose
from bai_wizard.pages.python.facts import PythonFacts
from bai_wizard.pages.python.releases import Number, dotted, number_of
from bai_wizard.pages.python.versions import which_python

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings


class NoWish(WizardError):
    """Nobody has said which Python is wanted."""


@dataclass(frozen=True)
class Wanted:
    """A minor version (3.13) or an exact one (3.13.7), the least version that will do, and what is uncertain."""

    python: str
    least: Number
    note: str = ""

    def accepts(self, version: str) -> bool:
        """True when this exact version will do."""
        number, wish = number_of(version), number_of(self.python)
        return number[: len(wish)] == wish and number >= self.least


@dataclass(frozen=True)
class Chosen:
    """The exact version that this node will have, and its build where the catalogue knows one."""

    wanted: Wanted
    version: str
    build: Build | None
    is_here: bool = False

    @property
    def what(self) -> str:
        """The build and what is to be said about it, for one line."""
        build = self.build
        parts = [f"build of {build.released} for {build.arch}, {build.flavour}"] if build is not None else []
        return "; ".join([*parts, *([self.wanted.note] if self.wanted.note else [])])


def wanted_python(settings: PythonSettings, context: Context) -> Wanted:
    """What the answers ask for. Raises UnknownRelease, and NoWish where neither a version nor a release is named."""
    release = context.backend_ai
    if settings.version != "auto":
        number = number_of(settings.version)
        if not release:
            return Wanted(settings.version, (*number, 0)[:3])
        need = which_python(release)
        if dotted(number[:2]) == need.python and (len(number) == 2 or number >= need.least):
            return Wanted(settings.version, need.least)
        note = f"Backend.AI {release} needs Python {need.python}, at least {dotted(need.least)}"
        return Wanted(settings.version, (*number, 0)[:3], note)
    if not release:
        raise NoWish('which Python is needed depends on the release: add backend_ai = "26.4" (or yours) to [node]')
    need = which_python(release)
    return Wanted(need.python, need.least, need.note)


def choose_python(settings: PythonSettings, facts: PythonFacts, context: Context) -> Chosen:
    """The newest interpreter here that will do, else the newest build. Raises UnknownRelease, NoWish, NoBuild.

    What is here wins over a newer build, so that a node which was set up stays as it is.
    """
    wanted = wanted_python(settings, context)
    there = facts.standalone if settings.method == "standalone" else facts.pyenv
    if isinstance(there, Known):
        fitting = [version for version in there.value if wanted.accepts(version)]
        if fitting:
            newest = max(fitting, key=number_of)
            return Chosen(wanted, newest, _build(newest, facts, settings), is_here=True)
    build = choose(
        wanted.python, facts.arch, least=wanted.least, flavour=settings.flavour, level=level_of(settings, facts.arch)
    )
    return Chosen(wanted, build.version, build)


def pyenv_root(settings: PythonSettings, facts: PythonFacts) -> str:
    """The directory of pyenv."""
    return settings.base_dir or f"{facts.home}/.pyenv"


def place_of(settings: PythonSettings, facts: PythonFacts, version: str) -> str:
    """Where an exact version is kept on the road that the answers take."""
    above = facts.versions if settings.method == "standalone" else f"{pyenv_root(settings, facts)}/versions"
    return f"{above}/{version}"


def level_of(settings: PythonSettings, arch: str) -> str:
    """The x86-64 level of the build to take, as the catalogue has it; other architectures have none."""
    return "" if settings.level == "baseline" or arch != "x86_64" else settings.level


def _build(version: str, facts: PythonFacts, settings: PythonSettings) -> Build | None:
    try:
        return choose(version, facts.arch, flavour=settings.flavour, level=level_of(settings, facts.arch))
    except NoBuild:
        return None
