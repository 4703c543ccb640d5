"""A verified build of python-build-standalone in the account's directory of versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname
from typing import ClassVar

from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import InstallPython, Primitive
from bai_wizard.core.step import Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.own_directory import account_of, own_directories


@register
@dataclass(frozen=True, kw_only=True)
class PythonBuild(Step):
    """Has the interpreter at `path`. What is there already and is the right one is not touched.

    `name` and `build` are the entry of the catalogue, `mirror` the directory that holds its archive.
    """

    kind: ClassVar[str] = "python-build"
    path: str
    version: str
    name: str
    build: str
    mirror: str
    account: str
    what: str = ""

    def describe(self) -> str:
        return f"{self.path}: Python {self.version}{f', {self.what}' if self.what else ''}"

    def scope(self) -> tuple[str, ...]:
        return (f"interpreter:{self.path}", f"tree:{self.path}", f"file:{dirname(self.path)}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        there = view.interpreter(self.path)
        if there is not None and there.version == self.version:
            return
        if there is not None:
            found = f"holds Python {there.version}" if there.version else "holds a Python that was left half built"
            raise StepBlocked(f"{self.path} {found}: move it away, then plan again")
        if view.entry(self.path) is not None:
            raise StepBlocked(f"{self.path} is there and is no Python that works: move it away, then plan again")
        account = account_of(view, self.account)
        yield from own_directories(view, dirname(self.path), account)
        yield InstallPython(self.path, self.version, self.name, self.build, self.mirror, self.account)
