"""Steps of the Python page: downloads, prebuilt and compiled interpreters, virtual environments."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename, dirname, join
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from bai_wizard.core.errors import StateUnknown, StepBlocked
from bai_wizard.core.machine import NodeView
from bai_wizard.core.operation import Environment, Operation, Scope, above
from bai_wizard.core.parse import shell_word
from bai_wizard.core.paths import parents
from bai_wizard.core.state import (
    distribution_key,
    download_key,
    file_key,
    interpreter_key,
    restoring_key,
    tree_key,
    venv_key,
)
from bai_wizard.core.step import Effect, Node, Step, Unchanged
from bai_wizard.resources.downloads import FetchFile
from bai_wizard.resources.files import MakeDirectory, MakeLink, WriteFile
from bai_wizard.resources.pythons import (
    PYPI,
    BuildPython,
    InstallDistributions,
    InstallPython,
    MakeVenv,
    PackageSources,
    RepairVenv,
    RestorePython,
    fits,
    is_met,
    parse_requirement,
    requirements_by_name,
)
from bai_wizard.resources.trees import CloneRepository, tree_keys
from bai_wizard.steps.accounts import account_of, below, owned_directories, restore_ownership, then
from bai_wizard.steps.files import REPAIR_BY_HAND, BlockDamaged, Markers, put_block, read_text


class Download(Step, frozen=True, kw_only=True):
    """Download `url` to `path`, unless its interpreter is already at `interpreter`.

    `again`: the interpreter has to be restored from the archive.
    """

    kind: ClassVar[str] = "download"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("again",)
    is_slow: ClassVar[bool] = True
    url: str
    path: str
    sha256: str
    interpreter: str
    version: str
    proxy: str = ""
    again: bool = False

    def describe(self) -> str:
        return f"download Python {self.version} from {self.url.rsplit('/', 2)[0]}"

    def scope(self) -> tuple[Scope, ...]:
        return (download_key(self.path),)

    def note(self, view: NodeView) -> Unchanged:
        return Unchanged(
            "already downloaded" if self._needed(view) else f"not needed: Python {self.version} is already installed"
        )

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if self._needed(view):
            yield FetchFile(self.url, self.path, self.sha256, self.proxy)

    def _needed(self, view: NodeView) -> bool:
        if self.again:
            return True
        try:
            existing = view.interpreter(self.interpreter)
        except StateUnknown:
            # A directory that only root can enter now: it will be returned to the account, and no download is needed.
            if self._is_closed(view):
                return False
            raise
        return existing is None or existing.version != self.version

    def _is_closed(self, view: NodeView) -> bool:
        """Whether the interpreter is unreadable only because it, or a directory above it, is closed."""
        for path in (self.interpreter, *parents(self.interpreter)):
            try:
                existing = view.entry(path)
            except StateUnknown:
                continue
            return existing is not None and (existing.uid == 0 or existing.mode & 0o700 != 0o700)
        return False


class PythonBuild(Step, frozen=True, kw_only=True):
    """Provide the interpreter at `path`. An existing, correct interpreter is not touched.

    `name` and `build` are the catalog entry, `mirror` the directory that contains its archive. `fault` describes a
    problem of the existing interpreter, whose files are then restored. `home`: root-owned directories between the
    account's home and the interpreter are returned to the account.
    """

    kind: ClassVar[str] = "python-build"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("fault", "home")
    is_slow: ClassVar[bool] = True
    path: str
    version: str
    name: str
    build: str
    mirror: str
    account: str
    what: str = ""
    fault: str = ""
    home: str = ""

    def describe(self) -> str:
        return f"install Python {self.version} in {self.path}{f' ({self.what})' if self.what else ''}"

    def scope(self) -> tuple[Scope, ...]:
        own = map(file_key, (dirname(self.path), *self._below_home()))
        return (interpreter_key(self.path), *tree_keys(self.path), *above(self.path), *own, restoring_key(self.path))

    def verify(self, view: NodeView) -> str:
        """Verify the files; the operation that restored the build has already started the interpreter."""
        return Step.verify(replace(self, fault=""), view)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = view.account(self.account)
        giving: Iterator[Operation] = iter(())
        if account is not None and self.path.startswith(f"{account.home.rstrip('/')}/"):
            giving = restore_ownership(view, account, *self._below_home())
        yield from then(self.id, giving, lambda: self._build(view))

    def _below_home(self) -> tuple[str, ...]:
        """Return the directories below the home down to the interpreter."""
        home = self.home.rstrip("/") or dirname(dirname(self.path))
        return tuple(below(home, self.path))

    def _build(self, view: NodeView) -> Iterator[Operation]:
        existing = view.interpreter(self.path)
        if existing is not None and existing.version == self.version:
            if self.fault:
                yield self._restore(self.fault)
            return
        if existing is not None:
            result = f"contains Python {existing.version}" if existing.version else "contains an incomplete Python"
            raise StepBlocked(f"{self.path} {result}: move it away, then plan again")
        if self._is_damaged(view):
            yield self._restore("bin/python3 is missing")
            return
        if view.entry(self.path) is not None:
            raise StepBlocked(f"{self.path} exists but is not a working Python: move it away, then plan again")
        account = account_of(view, self.account)
        yield from owned_directories(view, dirname(self.path), account)
        yield InstallPython(self.path, self.version, self.name, self.build, self.mirror, self.account)

    def _restore(self, fault: str) -> Operation:
        return RestorePython(self.path, self.version, self.name, self.build, self.mirror, self.account, fault)

    def _is_damaged(self, view: NodeView) -> bool:
        """Whether this very build is present without its executable, judged by the header that it installs."""
        minor = ".".join(self.version.split(".")[:2])
        try:
            header = view.text(f"{self.path}/include/python{minor}/patchlevel.h") or ""
        except StateUnknown:
            return False
        return f'"{self.version}"' in header


class Venv(Struct, frozen=True, kw_only=True):
    """A virtual environment at `path` with `requirements`, owned by the account.

    An existing one is kept if its Python has the same minor version and is at least `least`; one with another Python
    is never overwritten. Missing packages are installed; packages that others added stay.
    """

    path: str
    python: str
    version: str
    least: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def scope(self) -> tuple[Scope, ...]:
        """Return the keys that creating it may change."""
        packages = (distribution_key(self.path, name) for name in requirements_by_name(self.requirements))
        paths = map(file_key, self._paths())
        return (venv_key(self.path), *tree_keys(self.path), *packages, *above(self.path), *paths)

    def _paths(self) -> tuple[str, ...]:
        """Return the directories that the account has to own to use the environment and install into it."""
        library = f"{self.path}/lib/python{'.'.join(self.version.split('.')[:2])}"
        inside = (f"{self.path}/bin", f"{self.path}/lib", library, f"{library}/site-packages")
        return (dirname(self.path), *inside, self.path)

    def obstacle(self, view: NodeView) -> str:
        """Explain why the object at `path` must be left alone; empty if it does not block."""
        existing = view.venv(self.path)
        if existing is None:
            blocking = view.entry(self.path) is not None
            return (
                f"{self.path} exists but is not a virtual environment: move it away, then plan again"
                if blocking
                else ""
            )
        if not existing.version and existing.home == f"{self.python}/bin":
            return ""
        if not existing.version:
            return (
                f"the Python of {self.path} no longer exists; it was in {existing.home or 'an unknown location'}."
                f" Restore it, or note what is in {self.path}/lib and move it away: the next plan creates a new one"
            )
        same = existing.version.split(".")[:2] == self.version.split(".")[:2]
        if same and fits(parse_requirement(f"python>={self.least}"), existing.version):
            return ""
        return (
            f"{self.path} uses Python {existing.version} from {existing.home}; {self.version.rpartition('.')[0]} "
            f"with at least {self.least} is required. It is not overwritten: move it away, then plan again"
        )

    def give_back(self, view: NodeView) -> Iterator[Operation]:
        """Give files that root has come to own back to the account."""
        account = view.account(self.account)
        if account is None:
            return
        top, *inner, whole = self._paths()
        yield from restore_ownership(view, account, top, whole)
        for location in inner:
            yield from restore_ownership(view, account, location)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        """Yield what has to be done. Raises StepBlocked if something blocks it."""
        obstacle = self.obstacle(view)
        if obstacle:
            raise StepBlocked(obstacle)
        existing = view.venv(self.path)
        if existing is not None:
            if existing.fault or not existing.version:
                yield RepairVenv(self.path, self.python, self.version, self.account)
            missing = self._missing(view)
            if missing:
                yield InstallDistributions(self.path, missing, self.account, self.sources)
            return
        account = account_of(view, self.account)
        yield from owned_directories(view, dirname(self.path), account)
        yield MakeVenv(self.path, self.python, self.version, self.requirements, self.account, self.sources)

    def _missing(self, view: NodeView) -> tuple[str, ...]:
        return tuple(
            text
            for text in self.requirements
            for name, requirement in requirements_by_name([text]).items()
            if not is_met(requirement, view.distribution(self.path, name))
        )


class Venvs(Step, frozen=True, kw_only=True):
    """The virtual environments of services: they share only the interpreter, and several are created in parallel."""

    kind: ClassVar[str] = "venvs"
    is_slow: ClassVar[bool] = True
    venvs: tuple[Venv, ...]

    def describe(self) -> str:
        of = ", ".join(basename(dirname(venv.path)) for venv in self.venvs)
        return f"create virtual environments (Python {self.venvs[0].version}) for {of}"

    def scope(self) -> tuple[Scope, ...]:
        return tuple(item for venv in self.venvs for item in venv.scope())

    def operations(self, view: NodeView) -> Iterator[Operation]:
        giving = (operation for venv in self.venvs for operation in venv.give_back(view))
        yield from then(self.id, giving, lambda: self._make(view))

    def _make(self, view: NodeView) -> Iterator[Operation]:
        obstacles = [obstacle for venv in self.venvs if (obstacle := venv.obstacle(view))]
        if obstacles:
            raise StepBlocked("; ".join(obstacles))
        for venv in self.venvs:
            yield from venv.operations(view)

    def apply(self, node: Node) -> None:
        """Create directories in order; then the first environment, which fills the account's package cache.

        The other environments are then created together from that cache.
        """
        made: list[Operation] = []
        for operation in self.operations(node.view):
            if isinstance(operation, MakeVenv | InstallDistributions):
                made.append(operation)
            else:
                node.do(operation)
        for first in made[:1]:
            node.do(first)
        node.do_together(made[1:])


MARKERS = Markers("# BEGIN bai-wizard pyenv", "# END bai-wizard pyenv")


class PyenvRepository(Step, frozen=True, kw_only=True):
    """A clone of pyenv, or of a plugin, at `path`. An existing clone is unchanged, whatever its age."""

    kind: ClassVar[str] = "pyenv-repository"
    is_slow: ClassVar[bool] = True
    path: str
    url: str
    account: str
    environment: Environment = ()

    def describe(self) -> str:
        return f"clone {self.url} into {self.path}"

    def scope(self) -> tuple[Scope, ...]:
        return (*above(self.path), *tree_keys(self.path))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        if view.entry(self.path) is not None:
            return
        account = account_of(view, self.account)
        # The plugins directory is created by the clone of an earlier step of the same plan.
        if not dirname(self.path).endswith("/plugins"):
            yield from owned_directories(view, dirname(self.path), account)
        yield CloneRepository(self.path, self.url, self.account, self.environment)


class PyenvPython(Step, frozen=True, kw_only=True):
    """Python `version` built by the pyenv at `root`. An interrupted build is restarted from the beginning."""

    kind: ClassVar[str] = "pyenv-python"
    is_slow: ClassVar[bool] = True
    root: str
    version: str
    account: str
    environment: Environment = ()

    def describe(self) -> str:
        return f"build Python {self.version} with pyenv in {self.root}"

    def scope(self) -> tuple[Scope, ...]:
        path = join(self.root, "versions", self.version)
        return (interpreter_key(path), tree_key(path))

    def operations(self, view: NodeView) -> Iterator[Operation]:
        path = join(self.root, "versions", self.version)
        existing = view.interpreter(path)
        if existing is not None and existing.version == self.version:
            return
        if existing is None and view.entry(path) is not None:
            raise StepBlocked(f"{path} exists but is not a working Python: move it away, then plan again")
        yield BuildPython(self.root, self.version, self.account, environment=self.environment)


class PyenvVenv(Step, frozen=True, kw_only=True):
    """The result of `pyenv virtualenv VERSION NAME` and, in `directory`, `pyenv local NAME`, as one step."""

    kind: ClassVar[str] = "pyenv-venv"
    is_slow: ClassVar[bool] = True
    root: str
    version: str
    least: str
    name: str
    directory: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def describe(self) -> str:
        return f"create pyenv environment {self.name} (Python {self.version}) for {self.directory}"

    def scope(self) -> tuple[Scope, ...]:
        environment = self._environment
        packages = (distribution_key(environment, name) for name in requirements_by_name(self.requirements))
        local = join(self.directory, ".python-version")
        return (
            venv_key(environment),
            *tree_keys(environment),
            *packages,
            file_key(dirname(environment)),
            file_key(join(self.root, "versions", self.name)),
            *above(local),
            file_key(local),
        )

    @property
    def _environment(self) -> str:
        return join(self.root, "versions", self.version, "envs", self.name)

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = account_of(view, self.account)
        python = join(self.root, "versions", self.version)
        made = MakeVenv(self._environment, python, self.version, self.requirements, self.account, self.sources)
        if view.venv(self._environment) is None:
            yield MakeDirectory(dirname(self._environment), account.uid, account.gid)
            yield made
        else:
            kept = Venv(path=self._environment, python=python, version=self.version, least=self.least,
                        requirements=self.requirements, account=self.account, sources=self.sources)  # fmt: skip
            yield from kept.operations(view)
        yield MakeLink(join(self.root, "versions", self.name), self._environment, account.uid, account.gid)
        yield from owned_directories(view, self.directory, account)
        local = join(self.directory, ".python-version")
        text = read_text(view, local)
        if text is not None and text.strip() and text.strip() != self.name:
            raise StepBlocked(f"{local} selects {text.strip()!r}: remove it, or keep that environment")
        yield WriteFile(local, f"{self.name}\n".encode(), account.uid, account.gid)


class PyenvShell(Step, frozen=True, kw_only=True):
    """The lines in ~/.bashrc that set up pyenv in the account's shells, between our markers."""

    kind: ClassVar[str] = "pyenv-shell"
    omitted_if_default: ClassVar[tuple[str, ...]] = ("home",)
    root: str
    account: str
    home: str = ""
    effect: Effect = "next-login"

    def describe(self) -> str:
        return f"set up pyenv in the shells of {self.account}"

    def scope(self) -> tuple[Scope, ...]:
        return (file_key(join(self.home, ".bashrc")),) if self.home else ()

    def operations(self, view: NodeView) -> Iterator[Operation]:
        account = account_of(view, self.account)
        path = join(account.home, ".bashrc")
        lines = (
            f"export PYENV_ROOT={shell_word(self.root)}",
            '[ -d "$PYENV_ROOT/bin" ] && export PATH="$PYENV_ROOT/bin:$PATH"',
            'eval "$(pyenv init - bash)"',
            'eval "$(pyenv virtualenv-init -)"',
        )
        try:
            text = put_block(read_text(view, path) or "", MARKERS, lines)
        except BlockDamaged as error:
            raise StepBlocked(f"{path}: {error}. {REPAIR_BY_HAND}") from error
        existing = view.entry(path)
        mode = existing.mode if existing is not None else 0o644
        yield WriteFile(path, text.encode("utf-8", "surrogateescape"), account.uid, account.gid, mode)
