"""The virtual environment of a service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import InstallDistributions, MakeVenv, Primitive
from bai_wizard.core.primitives.pythons import PYPI, PackageSources, wishes
from bai_wizard.core.requirement import parse_requirement
from bai_wizard.core.state import Venv as VenvState
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.own_directory import account_of, own_directories


@register
@dataclass(frozen=True, kw_only=True)
class Venv(Step):
    """A virtual environment at `path` with `requirements` in it, owned by the account.

    One that is there is kept while its Python is of the same minor version and at least `least`; one of another
    Python is never overwritten. What is missing in it is installed; what somebody added stays.
    """

    kind: ClassVar[str] = "venv"
    path: str
    python: str
    version: str
    least: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def describe(self) -> str:
        return f"{self.path}: Python {self.version} with {', '.join(self.requirements)}"

    def scope(self) -> tuple[str, ...]:
        return (f"venv:{self.path}", f"tree:{self.path}", f"distribution:{self.path}:", f"file:{dirname(self.path)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = view.venv(self.path)
        if there is not None:
            self._refuse(there)
            missing = self._missing(view)
            if missing:
                yield InstallDistributions(self.path, missing, self.account, self.sources)
            return
        if view.entry(self.path) is not None:
            raise StepBlocked(f"{self.path} is there and is no virtual environment: move it away, then plan again")
        account = account_of(view, self.account)
        yield from own_directories(view, dirname(self.path), account)
        yield MakeVenv(self.path, self.python, self.version, self.requirements, self.account, self.sources)

    def _refuse(self, there: VenvState) -> None:
        if not there.version:
            raise StepBlocked(
                f"{self.path} has lost its Python, which was in {there.home or 'a place it does not tell'}. Bring "
                f"that back, or note what is in {self.path}/lib and move it away: the next plan makes a new one"
            )
        same = there.version.split(".")[:2] == self.version.split(".")[:2]
        if not same or not parse_requirement(f"python>={self.least}").met_by(there.version):
            raise StepBlocked(
                f"{self.path} is of Python {there.version}, from {there.home}; {self.version.rpartition('.')[0]} "
                f"with at least {self.least} is needed. It is not overwritten: move it away, then plan again"
            )

    def _missing(self, view: NodeView) -> tuple[str, ...]:
        found = {wanted.name: view.distribution(self.path, wanted.name) for wanted in wishes(self.requirements)}
        missing = []
        for requirement in self.requirements:
            wanted = parse_requirement(requirement)
            installed = found[wanted.name]
            if installed is None or not wanted.met_by(installed.version):
                missing.append(requirement)
        return tuple(missing)
