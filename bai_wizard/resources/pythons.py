"""Interpreters, virtual environments and the packages installed in them: their operations and their states."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from posixpath import join
from typing import TYPE_CHECKING, ClassVar, TypeVar

from msgspec import Struct

from bai_wizard.core.errors import KnownAfterApply, StateUnknown
from bai_wizard.core.operation import Change, Environment, Operation, Outcome, verb_of
from bai_wizard.core.parse import Malformed
from bai_wizard.core.predicted import PredictedNode
from bai_wizard.core.state import (
    INCOMPLETE,
    UNPREDICTABLE,
    Interpreter,
    Key,
    Package,
    State,
    States,
    Unpredictable,
    Venv,
    distribution_key,
    interpreter_key,
    restoring_key,
    tree_key,
    venv_key,
)
from bai_wizard.resources import reads
from bai_wizard.resources.trees import RemoveTree, TreeOperation, simulated_tree

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from bai_wizard.core.machine import NodeView
    from bai_wizard.core.operation import Simulation
    from bai_wizard.resources.local import LocalMachine

S = TypeVar("S", bound=State)


class RemovePython(RemoveTree, frozen=True):
    """Remove an interpreter that this wizard made, unless a virtual environment of the account still needs it."""

    kind: ClassVar[str] = "remove-python"
    account: str

    def refusal(self, view: NodeView) -> str:
        predicted = view.predicted_states() if isinstance(view, PredictedNode) else {}
        account = view.account(self.account)
        users = []
        try:
            for path in _locations_of_environments(account.home, view) if account is not None else ():
                venv = view.venv(path) if predicted.get(tree_key(path), path) is not None else None
                if venv is not None and venv.home == f"{self.path}/bin":
                    users.append(path)
        except (StateUnknown, KnownAfterApply):
            return ""  # the removal itself checks again
        return f"{self.path} is kept, because it is the Python of {', '.join(users)}" if users else ""


def _locations_of_environments(home: str, view: NodeView) -> Iterator[str]:
    """The paths where the removal of an interpreter looks for virtual environments."""
    for name in view.names(home):
        yield from (f"{home}/{name}", f"{home}/{name}/.venv")
    versions = f"{home}/.pyenv/versions"
    for version in view.names(versions):
        for name in view.names(f"{versions}/{version}/envs"):
            yield f"{versions}/{version}/envs/{name}"


class InstallPython(TreeOperation, frozen=True):
    """Unpack a verified python-build-standalone build at `path`, as the account.

    `build` is the catalog entry (in uv's format) as JSON; `mirror` is the directory of root that holds its archive.
    """

    kind: ClassVar[str] = "install-python"
    version: str
    name: str
    build: str
    mirror: str
    account: str

    def made(self) -> Outcome:
        return {interpreter_key(self.path): Interpreter(self.version)}

    def what(self) -> str:
        return f"Python {self.version} ({self.name})"

    def inverse(self, before: States) -> Operation | None:
        return RemovePython(self.path, self.account)


class RestorePython(Operation, frozen=True):
    """Restore missing or altered files of a verified build at `path`, as the account.

    Packages installed into the interpreter stay. `fault` describes the problem and is shown.
    """

    kind: ClassVar[str] = "restore-python"
    path: str
    version: str
    name: str
    build: str
    mirror: str
    account: str
    fault: str

    def keys(self) -> tuple[Key, ...]:
        return (restoring_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {restoring_key(self.path): UNPREDICTABLE}

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        return Change(f"restore {self.path}/", "run", attributes=f"Python {self.version}: {self.fault}")

    def irreversible_reason(self) -> str:
        return f"{self.path} stays restored"


class BuildPython(Operation, frozen=True):
    """Build Python with pyenv at `root`/versions/`version`, as the account. An interrupted build is restarted."""

    kind: ClassVar[str] = "build-python"
    root: str
    version: str
    account: str
    timeout: float = 3600.0
    environment: Environment = ()

    @property
    def path(self) -> str:
        """Where pyenv installs it; the path is compiled in, so it cannot be staged elsewhere."""
        return join(self.root, "versions", self.version)

    def keys(self) -> tuple[Key, ...]:
        return (interpreter_key(self.path), tree_key(self.path))

    def after(self, before: States) -> Outcome:
        if before[interpreter_key(self.path)] == Interpreter(self.version):
            return dict(before)
        return {interpreter_key(self.path): Interpreter(self.version), tree_key(self.path): UNPREDICTABLE}

    def inverse(self, before: States) -> Operation | None:
        return RemovePython(self.path, self.account)

    def changes(self, before: States) -> tuple[Change, ...]:
        message = f"Python {self.version}, built by pyenv"
        return (Change(f"{self.path}/", "create", attributes=message, key=interpreter_key(self.path)),)

    def simulate(self, node: Simulation) -> States:
        return simulated_tree(self.path)


class PackageSources(Struct, frozen=True):
    """Where Python packages come from; by default PyPI. `no_index`: use `find_links` only."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    environment: Environment = ()


PYPI = PackageSources()


class MakeVenv(TreeOperation, frozen=True):
    """Create a virtual environment of the interpreter at `python` with `requirements`, as the account."""

    kind: ClassVar[str] = "make-venv"
    python: str
    version: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def made(self) -> Outcome:
        home = join(self.python, "bin")
        packages = {
            distribution_key(self.path, name): Package(pinned(requirement))
            for name, requirement in requirements_by_name(self.requirements).items()
        }
        return {venv_key(self.path): Venv(self.version, home), **packages}

    def what(self) -> str:
        return f"Python {self.version} with {', '.join(self.requirements)}"


class RepairVenv(Operation, frozen=True):
    """Relink a virtual environment to its Python, as the account; packages installed in it stay."""

    kind: ClassVar[str] = "repair-venv"
    is_atomic: ClassVar[bool] = False
    path: str
    python: str
    version: str
    account: str

    def keys(self) -> tuple[Key, ...]:
        return (venv_key(self.path),)

    def after(self, before: States) -> Outcome:
        return {venv_key(self.path): Venv(self.version, join(self.python, "bin"))}

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        fault = before.fault if isinstance(before, Venv) and before.fault else "its Python is gone"
        return Change(f"{self.path}/", "modify", attributes=f"relinked to {self.python}: {fault}")

    def irreversible_reason(self) -> str:
        return f"{self.path} stays linked to {self.python}"


class InstallDistributions(Operation, frozen=True):
    """Install Python packages into an existing virtual environment, as the account. Undo keeps them."""

    kind: ClassVar[str] = "install-distributions"
    venv: str
    requirements: tuple[str, ...]
    account: str
    sources: PackageSources = PYPI

    def keys(self) -> tuple[Key, ...]:
        return tuple(distribution_key(self.venv, name) for name in requirements_by_name(self.requirements))

    def after(self, before: States) -> Outcome:
        result: Outcome = {}
        for name, requirement in requirements_by_name(self.requirements).items():
            key = distribution_key(self.venv, name)
            old = before[key]
            met = isinstance(old, Package) and is_met(requirement, old)
            result[key] = old if met else Package(pinned(requirement))
        return result

    def change(self, key: Key, before: State | None, after: State | Unpredictable | None) -> Change:
        venv, _, name = key.name.rpartition(":")
        old = before.version if isinstance(before, Package) else None
        new = after.version if isinstance(after, Package) else ""
        return Change(f"{name} in {venv}", verb_of(before, after), old, new)

    def irreversible_reason(self) -> str:
        return f"packages stay in {self.venv}: {' '.join(self.requirements)}"


# Versions of an interpreter that are not versions of a package: virtualenv writes `3.12.3.final.0`.
_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?")


def parse_requirement(text: str) -> Requirement:
    """Parse a requirement (PEP 508). Raises Malformed."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise Malformed(f"not a package requirement: {text!r}") from error


def requirements_by_name(requirements: Iterable[str]) -> dict[str, Requirement]:
    """Return the parsed requirements by normalized name; if a name occurs twice, the last one wins."""
    return {normalized(requirement.name): requirement for requirement in map(parse_requirement, requirements)}


def normalized(name: str) -> str:
    """Return the normalized form of a distribution name (PEP 503). `packaging.utils` would import subprocess."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(requirement: Requirement) -> str:
    """Return the pinned version; empty if several versions would do."""
    pins = [each.version for each in requirement.specifier if each.operator in ("==", "===")]
    return next((version for version in pins if not version.endswith(".*")), "")


def is_met(requirement: Requirement, existing: Package | None) -> bool:
    """Whether an installed distribution satisfies a requirement and its code is present."""
    return existing is not None and existing.version != INCOMPLETE and fits(requirement, existing.version)


def fits(requirement: Requirement, version: str) -> bool:
    """Whether an installed version satisfies every clause; an installed pre-release is as good as a release."""
    from packaging.version import InvalidVersion, Version

    try:
        Version(version)
    except InvalidVersion:
        release = _RELEASE.match(version)
        if release is None:
            return not requirement.specifier
        version = release[0]
    return requirement.specifier.contains(version, prereleases=True)


DEADLINE = 5.0
# Marks a prefix during a build: it contains an incomplete interpreter.
UNFINISHED = ".bai-wizard.unfinished"
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VERSION = re.compile(r'^#define\s+PY_VERSION\s+"([^"]+)"', re.MULTILINE)
_PROGRAM = re.compile(r"python3(?:\.\d+)?")
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info")


reads("interpreter")(lambda machine, path: _look(machine, path, Interpreter, interpreter_at))
reads("venv")(lambda machine, path: _look(machine, path, Venv, venv_at))


@reads("distribution")
def distribution_state(machine: LocalMachine, name: str) -> Package | None:
    """Return an installed distribution, named `VENV:NAME`."""
    venv, _, distribution = name.rpartition(":")
    return _look(machine, venv, Package, distribution_at, distribution)


def _look(machine: LocalMachine, path: str, kind: type[S], read: Callable[..., S | None], *args: str) -> S | None:
    result = machine.files.look_below(path, read, *args, answer=kind | None, deadline=DEADLINE)
    assert result is None or isinstance(result, kind)
    return result


def interpreter_at(directory: int, name: str) -> Interpreter | None:
    """Identify it by the header that every build installs; an unfinished build has no version."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        if UNFINISHED in os.listdir(here):
            return Interpreter("")
        if not _is_there("bin/python3", here):
            return None
        for include in _names("include", here):
            if include.startswith("python3"):
                match = _VERSION.search(_text(f"include/{include}/patchlevel.h", here))
                if match is not None:
                    return Interpreter(match[1])
        return None
    finally:
        os.close(here)


def venv_at(directory: int, name: str) -> Venv | None:
    """Identify it by its pyvenv.cfg."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        text = _text("pyvenv.cfg", here)
        if not text:
            return None
        pairs = (line.partition("=") for line in text.splitlines())
        values = {key.strip().lower(): value.strip() for key, _, value in pairs}
        version = values.get("version_info", values.get("version", ""))
        home = values.get("home", "")
        return Venv(version if _is_there("bin/python", here) else "", home, _fault(here, home))
    finally:
        os.close(here)


def _fault(venv: int, home: str) -> str:
    """Return a problem with an environment's programs: they must be the Python that pyvenv.cfg names."""
    try:
        own = os.stat("bin/python", dir_fd=venv)
    except (FileNotFoundError, NotADirectoryError):
        return ""  # reported by the missing version
    except PermissionError:
        return ""  # not a fault of the environment; reported for the directory that denies access
    base = next((info for name in ("python3", "python") if (info := _status(f"{home}/{name}"))), None)
    if base is None:
        return f"pyvenv.cfg names {home}, which does not contain Python"
    # A copy of the program instead of a link is fine (`python -m venv --copies`).
    copied = stat.S_ISREG(os.stat("bin/python", dir_fd=venv, follow_symlinks=False).st_mode)
    if not os.path.samestat(own, base) and not (copied and own.st_size == base.st_size):
        return f"bin/python is not the Python of {home}, which pyvenv.cfg names"
    for name in _names("bin", venv):
        if _PROGRAM.fullmatch(name) and not _is_same(f"bin/{name}", venv, own):
            return f"bin/{name} is not bin/python"
    missing = [name for name in ("python3", "activate") if not _is_there(f"bin/{name}", venv)]
    return f"bin/{missing[0]} is missing" if missing else ""


def _is_same(name: str, venv: int, own: os.stat_result) -> bool:
    status = _status(name, venv)
    return status is not None and (os.path.samestat(status, own) or status.st_size == own.st_size)


def _status(name: str, directory: int | None = None) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory)
    except OSError:
        return None


def distribution_at(directory: int, name: str, wanted: str) -> Package | None:
    """Identify it by its metadata directory in site-packages; `INCOMPLETE` if its code is missing."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        for python in _names("lib", here):
            for entry in _names(f"lib/{python}/site-packages", here):
                match = _DISTRIBUTION.fullmatch(entry)
                if match is not None and normalized(match["name"]) == wanted:
                    site = f"lib/{python}/site-packages"
                    return Package(match["version"] if _is_complete(site, entry, here) else INCOMPLETE)
        return None
    finally:
        os.close(here)


def _is_complete(site: str, metadata: str, venv: int) -> bool:
    """Whether the packages that RECORD lists exist and its programs start; true without a RECORD."""
    listed = {line.partition(",")[0].strip('"') for line in _text(f"{site}/{metadata}/RECORD", venv).splitlines()}
    wanted = {name for name in listed if name.startswith("../../../bin/") or name.endswith("/__init__.py")}
    wanted |= {name.partition("/")[0] for name in listed if name and not name.startswith(("..", "__pycache__"))}
    programs = [name for name in wanted if name.startswith("../../../bin/")]
    return all(_is_there(f"{site}/{name}", venv) for name in wanted) and all(
        _starts(f"{site}/{name}", venv) for name in programs
    )


def _starts(name: str, directory: int) -> bool:
    """Whether a program is executable and its interpreter exists; true if this process cannot read it."""
    try:
        if not os.stat(name, dir_fd=directory).st_mode & 0o100:
            return False
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        return isinstance(error, PermissionError)
    with open(descriptor, "rb") as file:
        words = file.readline(1 << 12).removeprefix(b"#!").split() or [b""]
    return not words[0].startswith(b"/") or os.path.exists(words[0])


def _is_there(name: str, directory: int) -> bool:
    """Whether a name exists, following links; true if this process cannot access it."""
    try:
        os.stat(name, dir_fd=directory)
    except PermissionError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _names(name: str, directory: int) -> list[str]:
    try:
        here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(os.listdir(here))
    finally:
        os.close(here)


def _text(name: str, directory: int) -> str:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    with open(descriptor, "rb") as file:
        return file.read(1 << 20).decode(errors="replace")
