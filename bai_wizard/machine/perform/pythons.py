"""Interpreters: unpacked from a verified archive, or built by pyenv; looked at before they get their name."""

from __future__ import annotations

import json
import os
from glob import escape, glob
from posixpath import basename, dirname
from typing import TYPE_CHECKING

from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.primitives import BuildPython, InstallPython, RemovePython
from bai_wizard.machine.cache import CACHE, make_directory, write
from bai_wizard.machine.perform.acting import Acting
from bai_wizard.machine.perform.trees import begin_staging, end_staging, place, remove_tree
from bai_wizard.machine.perform.uv import uv
from bai_wizard.machine.pythons import examine
from bai_wizard.machine.readers.pythons import UNFINISHED, venv_at

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine
    from bai_wizard.machine.perform import Performers

# Seconds for unpacking some 100 MB on a slow disk.
UNPACK = 300.0
# Files of a build that name the place where it was unpacked; uv writes them so, and we rename afterwards.
NAMING_ENDINGS = (".py", ".pc", ".json", "Makefile", "-config")


def install_python(machine: LocalMachine, primitive: InstallPython, log: Log) -> None:
    """Has uv unpack the archive aside, as the account; examines the interpreter; renames it into place."""
    acting = Acting.of(machine, primitive.account, log, {})
    prepared = begin_staging(acting, primitive.path)
    try:
        uv(acting, _install(primitive, prepared), timeout=UNPACK, title=f"Python {primitive.version}")
        built = f"{prepared}/{primitive.name}"
        examine(acting, f"{built}/bin/python3", primitive.version)
        acting.call(rename_inside, built, primitive.path)
        place(acting, built, primitive.path)
    except StepFailed:
        end_staging(acting, primitive.path)
        raise


def _install(primitive: InstallPython, prepared: str) -> list[str]:
    catalogue = f"{CACHE}/builds/{primitive.name}.json"
    make_directory(dirname(catalogue))
    write(catalogue, json.dumps(json.loads(primitive.build)) + "\n")
    return ["python", "install", "--offline", "--no-cache", "--no-bin", "--mirror", f"file://{primitive.mirror}",
            "--install-dir", prepared, "--python-downloads-json-url", catalogue, primitive.name]  # fmt: skip


def rename_inside(built: str, path: str) -> None:
    """Puts the final place of a build into the files that name the one it was unpacked at. Runs as the account."""
    old, new = built.encode(), path.encode()
    for above, _, files in os.walk(built):
        for name in files:
            file = os.path.join(above, name)
            if not name.endswith(NAMING_ENDINGS) or os.path.islink(file):
                continue
            with open(file, "rb") as stream:
                data = stream.read()
            if old in data:
                with open(file, "wb") as stream:
                    stream.write(data.replace(old, new))


def build_python(machine: LocalMachine, primitive: BuildPython, log: Log) -> None:
    """Has pyenv build a version at its final place, which is marked as unfinished until it was examined."""
    from bai_wizard.machine.pyenv_log import BuildLog, build_cause

    acting = Acting.of(machine, primitive.account, log, dict(primitive.environment))
    mark = f"{primitive.path}/{UNFINISHED}"
    work = f"{primitive.root}/.bai-wizard.build-{primitive.version}"
    acting.call(_begin_build, primitive.path, mark, work)
    told = BuildLog(log)
    environment = {
        "PYENV_ROOT": primitive.root,
        "TMPDIR": work,
        "MAKE_OPTS": f"-j{os.cpu_count() or 1}",
    }
    argv = [f"{primitive.root}/bin/pyenv", "install", "--verbose", "--force", primitive.version]
    completed = acting.attempt(argv, timeout=primitive.timeout, env=environment, on_line=told.line)
    if completed.code != 0:
        raise StepFailed(f"pyenv install {primitive.version}: {build_cause(told, completed)}")
    examine(acting, f"{primitive.path}/bin/python3", primitive.version, built=True)
    acting.run(["sync", "--file-system", primitive.path], timeout=UNPACK)
    acting.call(_end_build, work, mark)


def remove_python(machine: LocalMachine, primitive: RemovePython, log: Log) -> None:
    """Removes an interpreter. Raises StepFailed, with nothing removed, where an environment would lose its Python."""
    acting = Acting.of(machine, primitive.account, log, {})
    users = acting.call(environments_of, acting.home, primitive.path, answer=list[str])
    if users:
        raise StepFailed(f"{primitive.path} is kept, because it is the Python of {', '.join(users)}")
    remove_tree(machine, primitive, log)


def environments_of(home: str, python: str) -> list[str]:
    """The environments that were made from an interpreter: a service's, one in the home, one of pyenv."""
    top = escape(home)
    candidates = [*glob(f"{top}/*/.venv"), *glob(f"{top}/*"), *glob(f"{top}/.pyenv/versions/*/envs/*")]
    found = []
    for path in candidates:
        here = os.open(dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            venv = venv_at(here, basename(path)) if os.path.isdir(path) and not os.path.islink(path) else None
        finally:
            os.close(here)
        if venv is not None and venv.home == f"{python}/bin":
            found.append(path)
    return found


def _begin_build(path: str, mark: str, work: str) -> None:
    """Clears what a cut build left. Nothing of somebody else is lost: the place was empty, or marked as ours."""
    import shutil

    if os.path.isdir(path) and not os.path.exists(mark) and os.listdir(path):
        raise StepFailed(f"{path} holds something that is no finished Python and not ours: move it away")
    shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(path)
    with open(mark, "w", encoding="utf-8") as file:
        file.write(f"{basename(path)} is being built here by bai-wizard\n")
    os.mkdir(work)


def _end_build(work: str, mark: str) -> None:
    import shutil

    shutil.rmtree(work, ignore_errors=True)
    os.unlink(mark)


PERFORMERS: Performers = {
    InstallPython.kind: install_python,
    BuildPython.kind: build_python,
    RemovePython.kind: remove_python,
}
