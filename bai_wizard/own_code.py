"""Check who else could have modified this code before root runs it. Standard library only, imported first.

A process that starts as root checks what it runs: what is loaded already, the interpreter, the data of the package,
and from then on each module right before it is imported, a library with all of its files. Before an executor is
started, and before sudo, everything that could be imported is checked (`foreign_code`): the package, the directories
that Python imports from, the interpreter, and the libraries loaded into this process. Each path is checked with its
parent directories and link targets. In a directory that Python imports from, only what can be imported is checked:
modules, directories whose name is an identifier, and distribution metadata (entry points).
Not checked: packages named `test` or `tests` there, which nothing imports; stubs (.pyi); files compiled with -O if
that is off; and shared libraries that are loaded later.
Code that has already been modified can skip this check, so it prevents nothing by itself: it detects an unsafe
installation before it is exploited.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bai_wizard.trusted_path import TrustedPaths, Untrusted, sudo_uid

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

INSTALL_HINT = (
    "install a copy that only root can write: verify the sha256 of the release archive, unpack it into a private "
    "directory and run its install.sh as root"
)
# Wheels put their bundled shared libraries into NAME.libs. Entry points in distribution metadata name code that some
# packages import on their own.
IMPORTABLE = (".py", ".pyc", ".so", ".pth", ".zip", ".libs", ".dist-info", ".egg-info", ".egg-link", ".egg")
# Files of libraries that are not modules: what Python reads at startup, and shared libraries of modules.
AT_STARTUP = (".pth", ".zip", ".libs", ".egg-link", ".egg")
PACKAGE = os.path.dirname(os.path.abspath(__file__))
NEVER_IMPORTED = ("test", "tests")
NEVER_RUN = (".pyi",) if sys.flags.optimize else (".pyi", ".opt-1.pyc", ".opt-2.pyc")


class ForeignCode(BaseException):
    """Code that is about to be imported could have been modified. No `except Exception` may continue without it."""


def foreign_code(package: str, interpreter: str, users: Iterable[int], more: Iterable[str] = ()) -> str:
    """Why root must not run this code, and what to do; empty if only root and `users` could have modified it.

    `more` are additional files to check.
    """
    trusted = TrustedPaths(tuple(users), ignored=NEVER_RUN)
    return _refusal(package, partial(_judge, trusted, package, (interpreter, *more)))


def foreign_code_of_root(*more: str) -> str:
    """The same check for a process that already runs as root; the user who called sudo is trusted as well."""
    return foreign_code(PACKAGE, sys.executable, _invoker(), more)


def guard_imports() -> None:
    """Check what this process has loaded, and from now on each module right before it is imported.

    Raises ForeignCode with the reason why root must not run this code, now or when a module is imported.
    """
    if any(isinstance(finder, ImportGuard) for finder in sys.meta_path):
        return
    guard = ImportGuard(_invoker())
    guard.check(PACKAGE, guard.judge_loaded)
    sys.meta_path.insert(0, guard)


class ImportGuard:
    """The first finder of modules: it lets the others find a module and checks the files that would be run."""

    def __init__(self, users: Sequence[int]) -> None:
        self._trusted = TrustedPaths(users, ignored=NEVER_RUN)
        # Its modules are checked when they are imported.
        self._data = TrustedPaths(users, ignored=(*NEVER_RUN, ".py", ".pyc"))
        self._libraries: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module like the finders after this one. Raises ForeignCode."""
        if name.partition(".")[0] in self._libraries:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self.check(spec.origin or name, partial(self._judge_module, spec))
                return spec
        return None

    def check(self, subject: str, check: Callable[[], object]) -> None:
        """Raise ForeignCode if `check` finds a path that others could have modified."""
        refusal = _refusal(subject, check)
        if refusal:
            raise ForeignCode(refusal)

    def judge_loaded(self) -> None:
        """Check what this process runs already, and the data of the package. Raises Untrusted, OSError."""
        for path in (sys.executable, *_beside(sys.executable), *_mapped()):
            self._trusted.judge(os.path.abspath(path))
        self._data.judge_tree(PACKAGE)
        for path in sys.path:
            self._trusted.judge_tree(os.path.abspath(path or "."), lambda entry: entry.name.endswith(AT_STARTUP))
        for module in list(sys.modules.values()):
            spec = getattr(module, "__spec__", None)
            if spec is not None:
                self._judge_module(spec)

    def _judge_module(self, spec: ModuleSpec) -> None:
        """A module of the standard library or of this package alone; a library with everything in its directory."""
        for path in (spec.origin, spec.cached) if spec.has_location else ():
            if path:
                self._trusted.judge_file(path)
        name = spec.name.partition(".")[0]
        if name not in sys.stdlib_module_names and name != __package__ and name not in self._libraries:
            for directory in spec.submodule_search_locations or ():
                self._trusted.judge_tree(directory)
            self._libraries.add(name)


def _refusal(subject: str, check: Callable[[], object]) -> str:
    """Why the code must not run, and what to do; empty if `check` raises nothing."""
    try:
        check()
    except OSError as error:
        path = f"{error.filename or subject!s:.500}"
        return f"{path!r} cannot be examined ({error.strerror}), so it must not run as root; {INSTALL_HINT}"
    except Untrusted as error:
        path = error.path if error.path.isprintable() else repr(error.path)
        others = f"users other than root and you ({error.who})"
        return f"{path} can be written by {others}, so it must not run as root; {INSTALL_HINT}"
    return ""


def _invoker() -> tuple[int, ...]:
    """The user who called sudo, if any."""
    invoker = sudo_uid()
    return () if invoker is None else (invoker,)


def is_roots_own(path: str) -> bool:
    """Whether only root and the user who called sudo can change a directory; it may be sticky, as /tmp is."""
    try:
        return TrustedPaths(_invoker()).judge(os.path.abspath(path)) is not None
    except (Untrusted, OSError):
        return False


def _judge(trusted: TrustedPaths, package: str, files: tuple[str, ...]) -> None:
    for path in (*files, *_beside(files[0]), *_mapped()):
        trusted.judge(os.path.abspath(path))
    trusted.judge_tree(package)
    for path in sys.path:
        trusted.judge_tree(os.path.abspath(path or "."), _importable)
    if sys.pycache_prefix:
        trusted.judge_tree(os.path.abspath(sys.pycache_prefix))
    for path in _linked_in():
        trusted.judge_tree(path)


def _importable(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(IMPORTABLE) or (entry.name.isidentifier() and entry.name not in NEVER_IMPORTED)


def _beside(interpreter: str) -> tuple[str, ...]:
    """The file of a virtual environment that locates the standard library, and uv, which accounts run."""
    here = os.path.dirname(interpreter)
    return tuple(os.path.join(here, name) for name in ("pyvenv.cfg", "../pyvenv.cfg", "uv"))


def _mapped() -> set[str]:
    """The program and the libraries of this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        names = {line.rstrip("\n").split(maxsplit=5)[5] for line in file if line.count(" ") >= 5 and "/" in line}
    return {name for name in names if name.startswith("/") and not name.endswith(" (deleted)")}


def _linked_in() -> list[str]:
    """Paths that editable installations add through a setuptools import hook instead of a line in a .pth file."""
    modules = (sys.modules.get(getattr(finder, "__module__", "")) for finder in sys.meta_path)
    mappings = (getattr(module, "MAPPING", None) for module in modules)
    return [path for mapping in mappings if isinstance(mapping, dict) for path in mapping.values()]
