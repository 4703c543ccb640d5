"""Check who else could have modified this code before root runs it. Standard library only, imported first.

Checked are the package and all of its data, the directories that Python imports from, the interpreter, and the
libraries loaded into this process, each with its parent directories and link targets. In a directory that Python
imports from, only what can be imported is checked: modules, directories whose name is an identifier, and distribution
metadata (entry points).
Not checked: packages named `test` or `tests` there, which nothing imports; stubs (.pyi); files compiled with -O if
that is off; and libraries that are loaded later.
Code that has already been modified can skip this check, so it prevents nothing by itself: it detects an unsafe
installation before it is exploited.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache

from bai_wizard.trusted_path import TrustedPaths, Untrusted, sudo_uid

INSTALL_HINT = (
    "install a copy that only root can write: verify the sha256 of the release archive, unpack it into a private "
    "directory and run its install.sh as root"
)
# Wheels put their bundled shared libraries into NAME.libs. Entry points in distribution metadata name code that some
# packages import on their own.
IMPORTABLE = (".py", ".pyc", ".so", ".pth", ".zip", ".libs", ".dist-info", ".egg-info", ".egg-link", ".egg")
PACKAGE = os.path.dirname(os.path.abspath(__file__))
NEVER_IMPORTED = ("test", "tests")
NEVER_RUN = (".pyi",) if sys.flags.optimize else (".pyi", ".opt-1.pyc", ".opt-2.pyc")


def foreign_code(package: str, interpreter: str, users: Iterable[int], more: Iterable[str] = ()) -> str:
    """Why root must not run this code, and what to do; empty if only root and `users` could have modified it.

    `more` are additional files to check.
    """
    trusted = TrustedPaths(tuple(users), ignored=NEVER_RUN)
    try:
        _judge(trusted, package, (interpreter, *more))
    except OSError as error:
        path = f"{error.filename or package!s:.500}"
        return f"{path!r} cannot be examined ({error.strerror}), so it must not run as root; {INSTALL_HINT}"
    except Untrusted as error:
        path = error.path if error.path.isprintable() else repr(error.path)
        others = f"users other than root and you ({error.who})"
        return f"{path} can be written by {others}, so it must not run as root; {INSTALL_HINT}"
    return ""


def foreign_code_of_root(*more: str) -> str:
    """The same check for a process that already runs as root; the user who called sudo is trusted as well."""
    invoker = sudo_uid()
    return foreign_code(PACKAGE, sys.executable, () if invoker is None else (invoker,), more)


@cache
def foreign_code_at_start() -> str:
    """The result of `foreign_code_of_root`, computed once per process."""
    return foreign_code_of_root()


def is_roots_own(path: str) -> bool:
    """Whether only root and the user who called sudo can change a directory; it may be sticky, as /tmp is."""
    invoker = sudo_uid()
    try:
        return TrustedPaths(() if invoker is None else (invoker,)).judge(os.path.abspath(path)) is not None
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
