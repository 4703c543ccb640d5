"""The virtual environments of services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import basename, dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import InstallDistributions, MakeVenv, Primitive
from bai_wizard.core.primitives.pythons import PYPI, PackageSources, wishes
from bai_wizard.core.requirement import parse_requirement
from bai_wizard.core.step import Node, Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.own_directory import account_of, own_directories


@dataclass(frozen=True, kw_only=True)
class Venv:
    """A virtual environment at `path` with `requirements` in it, owned by the account.

    One that is there is kept while its Python is of the same minor version and at least `least`; one of another
    Python is never overwritten. What is missing in it is installed; what somebody added stays.
    """

    path: str
    python: str
    version: str
    least: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def scope(self) -> tuple[str, ...]:
        """Prefixes of the keys that making it may touch."""
        return (f"venv:{self.path}", f"tree:{self.path}", f"distribution:{self.path}:", f"file:{dirname(self.path)}")

    def obstacle(self, view: NodeView) -> str:
        """Why what is at `path` must be left as it is; empty where nothing is in the way."""
        there = view.venv(self.path)
        if there is None:
            in_the_way = view.entry(self.path) is not None
            return (
                f"{self.path} is there and is no virtual environment: move it away, then plan again"
                if in_the_way
                else ""
            )
        if not there.version:
            return (
                f"{self.path} has lost its Python, which was in {there.home or 'a place it does not tell'}. Bring "
                f"that back, or note what is in {self.path}/lib and move it away: the next plan makes a new one"
            )
        same = there.version.split(".")[:2] == self.version.split(".")[:2]
        if same and parse_requirement(f"python>={self.least}").met_by(there.version):
            return ""
        return (
            f"{self.path} is of Python {there.version}, from {there.home}; {self.version.rpartition('.')[0]} "
            f"with at least {self.least} is needed. It is not overwritten: move it away, then plan again"
        )

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        """What has to be done. Raises StepBlocked where something is in the way."""
        obstacle = self.obstacle(view)
        if obstacle:
            raise StepBlocked(obstacle)
        if view.venv(self.path) is not None:
            missing = self._missing(view)
            if missing:
                yield InstallDistributions(self.path, missing, self.account, self.sources)
            return
        account = account_of(view, self.account)
        yield from own_directories(view, dirname(self.path), account)
        yield MakeVenv(self.path, self.python, self.version, self.requirements, self.account, self.sources)

    def _missing(self, view: NodeView) -> tuple[str, ...]:
        found = {wanted.name: view.distribution(self.path, wanted.name) for wanted in wishes(self.requirements)}
        missing = []
        for requirement in self.requirements:
            wanted = parse_requirement(requirement)
            installed = found[wanted.name]
            if installed is None or not wanted.met_by(installed.version):
                missing.append(requirement)
        return tuple(missing)


@register
@dataclass(frozen=True, kw_only=True)
class Venvs(Step):
    """The virtual environments of services: they share nothing but the interpreter, and are made several at once."""

    kind: ClassVar[str] = "venvs"
    venvs: tuple[Venv, ...]

    def describe(self) -> str:
        of = ", ".join(basename(dirname(venv.path)) for venv in self.venvs)
        return f"virtual environments of Python {self.venvs[0].version} for {of}"

    def scope(self) -> tuple[str, ...]:
        return tuple(prefix for venv in self.venvs for prefix in venv.scope())

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        obstacles = [obstacle for venv in self.venvs if (obstacle := venv.obstacle(view))]
        if obstacles:
            raise StepBlocked("; ".join(obstacles))
        for venv in self.venvs:
            yield from venv.primitives(view)

    def apply(self, node: Node) -> None:
        """Directories as they come; then the first environment, which fills the account's cache of packages; then the
        others together, out of that cache."""
        made: list[Primitive] = []
        for primitive in self.primitives(node.view):
            if isinstance(primitive, (MakeVenv, InstallDistributions)):
                made.append(primitive)
            else:
                node.do(primitive)
        for first in made[:1]:
            node.do(first)
        node.do_together(made[1:])
