"""Interpreters, virtual environments, and what is installed into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import join
from typing import ClassVar

from bai_wizard.core.change import Change
from bai_wizard.core.keys import distribution_key, download_key, interpreter_key, tree_key, venv_key
from bai_wizard.core.primitives.base import BasePrimitive, Outcome, verb_of
from bai_wizard.core.primitives.trees import RemoveTree, TreePrimitive
from bai_wizard.core.requirement import Wanted, parse_requirement
from bai_wizard.core.state import (
    UNPREDICTABLE,
    Download,
    Interpreter,
    Key,
    Package,
    State,
    States,
    Unpredictable,
    Venv,
)

Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PackageSources:
    """Where Python packages come from; the public one where nothing is said. `no_index`: only `find_links`."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    environment: Environment = ()


PYPI = PackageSources()


@dataclass(frozen=True)
class FetchFile(BasePrimitive):
    """Fetches `url` (http, https or file) to `path` in a directory of root's, resuming what a cut run left.

    The file is there under its name only with the right `sha256`. Reached through `proxy` when that is not empty.
    """

    kind: ClassVar[str] = "fetch-file"
    url: str
    path: str
    sha256: str
    proxy: str = ""

    def keys(self) -> tuple[Key, ...]:
        return (download_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: Download(self.sha256)}

    def inverse(self, before: States) -> BasePrimitive | None:
        return DropDownload(self.path)

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(self.path, verb_of(before, after), attributes=f"from {self.url}, sha256 {self.sha256[:12]}…")


@dataclass(frozen=True)
class DropDownload(BasePrimitive):
    """Removes a fetched file and its resumable part."""

    kind: ClassVar[str] = "drop-download"
    path: str

    def keys(self) -> tuple[Key, ...]:
        return (download_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {self.keys()[0]: None}

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(self.path, "remove")


@dataclass(frozen=True)
class RemovePython(RemoveTree):
    """Removes an interpreter that this wizard made, unless a virtual environment of the account still needs it."""

    kind: ClassVar[str] = "remove-python"
    path: str
    account: str


@dataclass(frozen=True)
class InstallPython(TreePrimitive):
    """Unpacks a verified build of python-build-standalone at `path`, as the account.

    `build` is the entry of the catalogue (in uv's format) as JSON; `mirror` the root's directory with its archive.
    """

    kind: ClassVar[str] = "install-python"
    path: str
    version: str
    name: str
    build: str
    mirror: str
    account: str

    def made(self) -> Outcome:
        return {interpreter_key(self.path): Interpreter(self.version)}

    def what(self) -> str:
        return f"Python {self.version} ({self.name})"

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemovePython(self.path, self.account)


@dataclass(frozen=True)
class BuildPython(BasePrimitive):
    """Builds a Python by pyenv at `root`/versions/`version`, as the account. What a cut build left is built anew."""

    kind: ClassVar[str] = "build-python"
    root: str
    version: str
    account: str
    timeout: float = 3600.0
    environment: Environment = ()

    @property
    def path(self) -> str:
        """Where pyenv keeps it; the place is compiled in, so it cannot be prepared aside."""
        return join(self.root, "versions", self.version)

    def keys(self) -> tuple[Key, ...]:
        return (interpreter_key(self.path), tree_key(self.path))

    def after(self, before: States) -> Outcome:
        if before[interpreter_key(self.path)] == Interpreter(self.version):
            return dict(before)
        return {interpreter_key(self.path): Interpreter(self.version), tree_key(self.path): UNPREDICTABLE}

    def inverse(self, before: States) -> BasePrimitive | None:
        return RemovePython(self.path, self.account)

    def changes(self, before: States) -> tuple[Change, ...]:
        return (Change(f"{self.path}/", "create", attributes=f"Python {self.version}, built by pyenv"),)


@dataclass(frozen=True)
class MakeVenv(TreePrimitive):
    """A virtual environment of the interpreter at `python` with `requirements` in it, as the account."""

    kind: ClassVar[str] = "make-venv"
    path: str
    python: str
    version: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def made(self) -> Outcome:
        home = join(self.python, "bin")
        packages = {
            distribution_key(self.path, wanted.name): Package(wanted.exact()) for wanted in wishes(self.requirements)
        }
        return {venv_key(self.path): Venv(self.version, home), **packages}

    def what(self) -> str:
        return f"Python {self.version} with {', '.join(self.requirements)}"


@dataclass(frozen=True)
class InstallDistributions(BasePrimitive):
    """Installs Python packages into a virtual environment that was there before, as the account. They stay."""

    kind: ClassVar[str] = "install-distributions"
    venv: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def keys(self) -> tuple[Key, ...]:
        return tuple(distribution_key(self.venv, wanted.name) for wanted in wishes(self.requirements))

    def after(self, before: States) -> Outcome:
        result: Outcome = {}
        for wanted in wishes(self.requirements):
            old = before[distribution_key(self.venv, wanted.name)]
            kept = isinstance(old, Package) and wanted.met_by(old.version)
            result[distribution_key(self.venv, wanted.name)] = old if kept else Package(wanted.exact())
        return result

    def inverse(self, before: States) -> BasePrimitive | None:
        return None

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        venv, _, name = key.name.rpartition(":")
        old = before.version if isinstance(before, Package) else None
        new = after.version if isinstance(after, Package) else ""
        return Change(f"{name} in {venv}", verb_of(before, after), old, new)

    def lasting(self) -> str:
        return f"packages stay in {self.venv}: {' '.join(self.requirements)}"


def wishes(requirements: Iterable[str]) -> tuple[Wanted, ...]:
    """The requirements, read; of two for one name the last counts."""
    return tuple({wanted.name: wanted for wanted in map(parse_requirement, requirements)}.values())
