"""The pyenv road: its repositories, an interpreter built here, an environment per service, the shell's start-up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import dirname, join
from typing import ClassVar

from bai_wizard.core.blocks import BlockDamaged, Markers, put_block
from bai_wizard.core.errors import StepBlocked
from bai_wizard.core.primitives import (
    BuildPython,
    CloneRepository,
    MakeDirectory,
    MakeLink,
    MakeVenv,
    Primitive,
    WriteFile,
)
from bai_wizard.core.primitives.pythons import PYPI, Environment, PackageSources
from bai_wizard.core.step import Effect, Step, register
from bai_wizard.core.view import NodeView
from bai_wizard.steps.edit_block import REPAIR_BY_HAND, read_text
from bai_wizard.steps.own_directory import account_of, own_directories
from bai_wizard.steps.venv import Venv

MARKERS = Markers("# BEGIN bai-wizard pyenv", "# END bai-wizard pyenv")


@register
@dataclass(frozen=True, kw_only=True)
class PyenvRepository(Step):
    """A clone of pyenv, or of a plugin, at `path`. One that is there is left as it is, whatever its age."""

    kind: ClassVar[str] = "pyenv-repository"
    path: str
    url: str
    account: str
    environment: Environment = ()

    def describe(self) -> str:
        return f"{self.path}, from {self.url}"

    def scope(self) -> tuple[str, ...]:
        return (f"tree:{self.path}",)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        if view.entry(self.path) is not None:
            return
        account = account_of(view, self.account)
        # The plugins' directory comes with the clone that an earlier step of the same plan makes.
        if not dirname(self.path).endswith("/plugins"):
            yield from own_directories(view, dirname(self.path), account)
        yield CloneRepository(self.path, self.url, self.account, self.environment)


@register
@dataclass(frozen=True, kw_only=True)
class PyenvPython(Step):
    """Python `version` built by the pyenv at `root`. A build that was cut is done again from its beginning."""

    kind: ClassVar[str] = "pyenv-python"
    root: str
    version: str
    account: str
    environment: Environment = ()

    def describe(self) -> str:
        return f"Python {self.version} built by pyenv in {self.root}"

    def scope(self) -> tuple[str, ...]:
        path = join(self.root, "versions", self.version)
        return (f"interpreter:{path}", f"tree:{path}")

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        path = join(self.root, "versions", self.version)
        there = view.interpreter(path)
        if there is not None and there.version == self.version:
            return
        if there is None and view.entry(path) is not None:
            raise StepBlocked(f"{path} is there and is no Python that works: move it away, then plan again")
        yield BuildPython(self.root, self.version, self.account, environment=self.environment)


@register
@dataclass(frozen=True, kw_only=True)
class PyenvVenv(Step):
    """What `pyenv virtualenv VERSION NAME` and, in `directory`, `pyenv local NAME` leave behind, in one piece."""

    kind: ClassVar[str] = "pyenv-venv"
    root: str
    version: str
    least: str
    name: str
    directory: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def describe(self) -> str:
        return f"pyenv environment {self.name} of Python {self.version}, local to {self.directory}"

    def scope(self) -> tuple[str, ...]:
        environment = self._environment
        return (f"venv:{environment}", f"tree:{environment}", f"distribution:{environment}:",
                f"file:{self.root}/versions", f"file:{self.directory}")  # fmt: skip

    @property
    def _environment(self) -> str:
        return join(self.root, "versions", self.version, "envs", self.name)

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = account_of(view, self.account)
        python = join(self.root, "versions", self.version)
        made = MakeVenv(self._environment, python, self.version, self.requirements, self.account, self.sources)
        if view.venv(self._environment) is None:
            yield MakeDirectory(dirname(self._environment), account.uid, account.gid)
            yield made
        else:
            kept = Venv(path=self._environment, python=python, version=self.version, least=self.least,
                        requirements=self.requirements, account=self.account, sources=self.sources)  # fmt: skip
            yield from kept.primitives(view)
        yield MakeLink(join(self.root, "versions", self.name), self._environment, account.uid, account.gid)
        yield from own_directories(view, self.directory, account)
        local = join(self.directory, ".python-version")
        text = read_text(view, local)
        if text is not None and text.strip() and text.strip() != self.name:
            raise StepBlocked(f"{local} says {text.strip()!r}: remove it, or keep that environment")
        yield WriteFile(local, f"{self.name}\n".encode(), account.uid, account.gid)


@register
@dataclass(frozen=True, kw_only=True)
class PyenvShell(Step):
    """The lines in ~/.bashrc that make pyenv known to the account's shells, between our markers."""

    kind: ClassVar[str] = "pyenv-shell"
    root: str
    account: str
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"the shells of {self.account} know pyenv"

    def primitives(self, view: NodeView) -> Iterator[Primitive]:
        account = account_of(view, self.account)
        path = join(account.home, ".bashrc")
        lines = (
            f'export PYENV_ROOT="{self.root}"',
            '[ -d "$PYENV_ROOT/bin" ] && export PATH="$PYENV_ROOT/bin:$PATH"',
            'eval "$(pyenv init - bash)"',
            'eval "$(pyenv virtualenv-init -)"',
        )
        try:
            text = put_block(read_text(view, path) or "", MARKERS, lines)
        except BlockDamaged as error:
            raise StepBlocked(f"{path}: {error}. {REPAIR_BY_HAND}") from error
        there = view.entry(path)
        mode = there.mode if there is not None else 0o644
        yield WriteFile(path, text.encode("utf-8", "surrogateescape"), account.uid, account.gid, mode)
