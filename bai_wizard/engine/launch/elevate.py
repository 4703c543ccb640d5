"""Starting again as root: by sudo, with the absolute interpreter, never with code that others may write."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from bai_wizard.core.errors import PreflightError

INSTALL_HINT = (
    "install a copy that only root can write: sudo python3 -m venv /opt/bai-wizard && "
    "sudo /opt/bai-wizard/bin/pip install bai-wizard"
)


def sudo_argv(arguments: Sequence[str], *, ask: bool) -> list[str]:
    """The command that starts this wizard again under sudo; without `ask`, sudo must not prompt."""
    prefix = ["sudo", "--"] if ask else ["sudo", "-n", "--"]
    return [*prefix, sys.executable, "-I", "-m", "bai_wizard", *arguments]


def elevate(arguments: Sequence[str], *, ask: bool) -> None:
    """Replaces this process by the same command as root. Raises PreflightError when that is not possible."""
    from shutil import which

    refuse_foreign_code(Path(__file__).resolve().parents[2], Path(sys.executable))
    sudo = which("sudo")
    if sudo is None:
        raise PreflightError("this needs root, and sudo is not installed; log in as root")
    argv = sudo_argv(arguments, ask=ask)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sudo, argv)


def refuse_foreign_code(package: Path, interpreter: Path, *, invoker: int | None = None) -> None:
    """Raises PreflightError when somebody other than root and the invoker could have written what root would run."""
    allowed = {0, os.getuid() if invoker is None else invoker}
    trees = {package, *(Path(place).resolve() for place in sys.path if Path(place).is_dir())}
    # The interpreter by the name that it is called by (a link in an environment), and the program behind that.
    checked = [interpreter, *interpreter.parents, interpreter.resolve(), *interpreter.resolve().parents]
    for tree in trees:
        checked += [tree, *tree.parents, *(path for path in tree.rglob("*") if not path.is_symlink())]
    for path in checked:
        info = path.stat()
        sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
        others = info.st_mode & stat.S_IWOTH and not sticky
        shared = info.st_mode & stat.S_IWGRP and info.st_gid not in (0, os.getgid()) and not sticky
        if info.st_uid not in allowed or others or shared:
            raise PreflightError(
                f"{path} can be written by others than root and you, so it must not run as root; " + INSTALL_HINT
            )
