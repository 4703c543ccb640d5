"""Interpreters and virtual environments: unpacked or built, checked, and filled by uv, as the account."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from errno import ENOEXEC
from functools import cache
from glob import escape, glob
from posixpath import basename, dirname
from typing import TYPE_CHECKING

import packaging.requirements  # noqa: F401 - `pythons` needs it during a run, which imports nothing any more
from msgspec import Struct, field

from bai_wizard.core.errors import ProgramMissing, StateUnknown, StepFailed
from bai_wizard.core.event import Log
from bai_wizard.core.machine import Completed
from bai_wizard.node.cache import CACHE, keep_program, make_directory, write
from bai_wizard.node.error_hints import find_hint
from bai_wizard.node.interpreter_check import argv_of, problem_of
from bai_wizard.node.process import last_words
from bai_wizard.resources import performs
from bai_wizard.resources.pythons import (
    UNFINISHED,
    BuildPython,
    InstallDistributions,
    InstallPython,
    MakeVenv,
    PackageSources,
    RemovePython,
    RepairVenv,
    RestorePython,
    requirements_by_name,
    venv_at,
)
from bai_wizard.resources.trees_apply import Acting, begin_staging, end_staging, place, remove_tree

if TYPE_CHECKING:
    from bai_wizard.resources.local import LocalMachine
    from bai_wizard.resources.trees_apply import Acting


@cache
def program() -> str:
    """Return uv in a location where every account can execute it: the wizard's own copy may be below /root."""
    from uv import find_uv_bin

    try:
        return keep_program(find_uv_bin(), "uv")
    except FileNotFoundError as error:
        raise StepFailed("the wizard's copy of uv is missing: reinstall the wizard") from error


def uv(acting: Acting, argv: Sequence[str], *, timeout: float, title: str) -> Completed:
    """Run uv without its own configuration. Raises StepFailed with the cause in plain words."""
    environment = {"UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "manual"}
    environment |= acting.caches()
    completed = acting.attempt([program(), *argv], timeout=timeout, env=environment)
    if completed.code != 0:
        raise StepFailed(f"{title}: {cause(completed)}")
    return completed


def cause(completed: Completed) -> str:
    """Return the meaning of uv's message, followed by its own last lines."""
    hint = find_hint("uv", completed.err)
    return f"{hint.text} ({last_words(completed)})" if hint else last_words(completed)


def source_options(sources: PackageSources) -> list[str]:
    """Return package sources as options of `uv pip install`."""
    options = ["--index-url", sources.index_url] if sources.index_url else []
    if sources.no_index:
        options = ["--no-index"]
    for url in sources.extra_index_urls:
        options += ["--extra-index-url", url]
    for location in sources.find_links:
        options += ["--find-links", location]
    return options


MAKE = 60.0
# Time limit in seconds for packages with all dependencies, over a slow connection, some compiled here.
INSTALL = 1800.0
START = 60.0


@performs(MakeVenv)
def make_venv(machine: LocalMachine, operation: MakeVenv, log: Log) -> None:
    """Create a relocatable environment in the staging directory, so that a rename completes it."""
    acting = Acting.of(machine, operation.account, log, dict(operation.sources.environment))
    prepared = begin_staging(acting, operation.path)
    title = f"the virtual environment {operation.path}"
    try:
        prompt = basename(dirname(operation.path)) or "venv"
        argv = ["venv", "--quiet", "--relocatable", "--no-project", "--allow-existing", "--prompt", prompt]
        uv(acting, [*argv, "--python", f"{operation.python}/bin/python3", prepared], timeout=MAKE, title=title)
        install(acting, prepared, operation.requirements, _sources(machine, operation.sources), title)
        # Only import the package: running pip, which is not byte-compiled yet, would take a second and prove nothing
        # more.
        acting.run([f"{prepared}/bin/python", "-I", "-B", "-c", "import pip"], timeout=START, title=title)
        place(acting, prepared, operation.path)
    except StepFailed:
        end_staging(acting, operation.path)
        raise


@performs(RepairVenv)
def repair_venv(machine: LocalMachine, operation: RepairVenv, log: Log) -> None:
    """Rewrite pyvenv.cfg, the links to the interpreter and the activation scripts; nothing else is changed."""
    acting = Acting.of(machine, operation.account, log, {})
    title = f"the virtual environment {operation.path}"
    acting.call(_remove_links, f"{operation.path}/bin")
    prompt = basename(dirname(operation.path)) or "venv"
    argv = ["venv", "--quiet", "--relocatable", "--no-project", "--allow-existing", "--prompt", prompt]
    uv(acting, [*argv, "--python", f"{operation.python}/bin/python3", operation.path], timeout=MAKE, title=title)


def _remove_links(directory: str) -> None:
    """Remove the environment's interpreters, so that nothing is written through a link to another Python."""
    import os
    import re

    for name in os.listdir(directory):
        if re.fullmatch(r"python(?:3(?:\.\d+)?)?", name):
            os.unlink(f"{directory}/{name}")


@performs(InstallDistributions)
def install_distributions(machine: LocalMachine, operation: InstallDistributions, log: Log) -> None:
    """Install into an existing environment; for installed packages uv's rules apply instead of pip's."""
    acting = Acting.of(machine, operation.account, log, dict(operation.sources.environment))
    title = f"packages for {operation.venv}"
    install(acting, operation.venv, operation.requirements, _sources(machine, operation.sources), title, again=True)


def _sources(machine: LocalMachine, planned: PackageSources) -> PackageSources:
    """Return the planned sources, or the verified copies from a bundle.

    The bundle's own files may be changed during the run, so the plan's paths to them are not used.
    """
    if not machine.wheels_from:
        return planned
    return PackageSources(find_links=(machine.wheels_from,), no_index=True, environment=planned.environment)


def install(
    acting: Acting,
    venv: str,
    requirements: tuple[str, ...],
    sources: PackageSources,
    title: str,
    *,
    again: bool = False,
) -> None:
    """Have uv install `requirements` with dependencies; `again`: reinstall them, even if their metadata exists.

    Raises StepFailed.
    """
    acting.refuse_untrusted((sources.index_url, *sources.extra_index_urls, *sources.find_links))
    # Copied, not linked from the cache: editing a file in one environment must not change it in the others.
    options = ["--python", f"{venv}/bin/python", "--link-mode", "copy", *source_options(sources)]
    if again:
        options += [word for name in requirements_by_name(requirements) for word in ("--reinstall-package", name)]
    uv(acting, ["pip", "install", *options, "--", *requirements], timeout=INSTALL, title=title)


# Time limit in seconds for unpacking some 100 MB on a slow disk.
UNPACK = 300.0
# Files of a build that contain the path where it was unpacked; uv writes it, and the build is renamed afterwards.
NAMING_ENDINGS = (".py", ".pc", ".json", "Makefile", "-config")


@performs(InstallPython)
def install_python(machine: LocalMachine, operation: InstallPython, log: Log) -> None:
    """Have uv unpack the archive in the staging directory, check the interpreter, and rename it into place."""
    acting = Acting.of(machine, operation.account, log, {})
    prepared = begin_staging(acting, operation.path)
    try:
        built = _unpack(acting, operation, prepared)
        place(acting, built, operation.path)
    except StepFailed:
        end_staging(acting, operation.path)
        raise


@performs(RestorePython)
def restore_python(machine: LocalMachine, operation: RestorePython, log: Log) -> None:
    """Unpack the archive in the staging directory, replace missing or altered files, and check the result."""
    acting = Acting.of(machine, operation.account, log, {})
    prepared = begin_staging(acting, operation.path)
    try:
        built = _unpack(acting, operation, prepared)
        acting.call(replace_altered, built, operation.path, deadline=UNPACK)
        check_build(acting, f"{operation.path}/bin/python3", operation.version)
        acting.run(["sync", "--file-system", operation.path], timeout=UNPACK)
    finally:
        end_staging(acting, operation.path)


def _unpack(acting: Acting, operation: InstallPython | RestorePython, prepared: str) -> str:
    uv(acting, _install(operation, prepared), timeout=UNPACK, title=f"Python {operation.version}")
    built = f"{prepared}/{operation.name}"
    check_build(acting, f"{built}/bin/python3", operation.version)
    acting.call(rename_inside, built, operation.path)
    return built


def replace_altered(built: str, path: str) -> None:
    """Move every file of `built` that differs from the one at `path` there. Runs as the account."""
    import filecmp
    import shutil

    for above, directories, files in os.walk(built):
        target = os.path.normpath(os.path.join(path, os.path.relpath(above, built)))
        if os.path.islink(target) or (os.path.lexists(target) and not os.path.isdir(target)):
            os.unlink(target)
        os.makedirs(target, exist_ok=True)
        os.chmod(target, os.stat(above).st_mode & 0o7777)
        links = [name for name in directories if os.path.islink(os.path.join(above, name))]
        for name in (*files, *links):
            ours, existing = os.path.join(above, name), os.path.join(target, name)
            if os.path.islink(ours) or os.path.islink(existing):
                same = (
                    os.path.islink(ours) and os.path.islink(existing) and os.readlink(ours) == os.readlink(existing)
                )
            else:
                same = os.path.isfile(existing) and _is_same_file(ours, existing, filecmp.cmp)
            if not same:
                if os.path.isdir(existing) and not os.path.islink(existing):
                    shutil.rmtree(existing)
                os.replace(ours, existing)


def _is_same_file(ours: str, existing: str, compare: Callable[..., bool]) -> bool:
    if os.stat(ours).st_mode != os.stat(existing).st_mode or not os.access(existing, os.R_OK):
        return False
    return compare(ours, existing, shallow=False)


def _install(operation: InstallPython | RestorePython, prepared: str) -> list[str]:
    catalogue = f"{CACHE}/builds/{operation.name}.json"
    make_directory(dirname(catalogue))
    write(catalogue, json.dumps(json.loads(operation.build)) + "\n")
    return ["python", "install", "--offline", "--no-cache", "--no-bin", "--mirror", f"file://{operation.mirror}",
            "--install-dir", prepared, "--python-downloads-json-url", catalogue, operation.name]  # fmt: skip


def rename_inside(built: str, path: str) -> None:
    """Replace the path where a build was unpacked with its final path in the build's files. Runs as the account."""
    old, new = os.fsencode(built), os.fsencode(path)
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


@performs(BuildPython)
def build_python(machine: LocalMachine, operation: BuildPython, log: Log) -> None:
    """Have pyenv build a version at its final path, which is marked as unfinished until it has been checked."""
    acting = Acting.of(machine, operation.account, log, dict(operation.environment))
    mark = f"{operation.path}/{UNFINISHED}"
    work = f"{operation.root}/.bai-wizard.build-{operation.version}"
    acting.call(_begin_build, operation.path, mark, work)
    result = BuildLog(log)
    environment = {
        "PYENV_ROOT": operation.root,
        "TMPDIR": work,
        "MAKE_OPTS": f"-j{os.cpu_count() or 1}",
        **acting.caches(),
    }
    argv = [f"{operation.root}/bin/pyenv", "install", "--verbose", "--force", operation.version]
    completed = acting.attempt(argv, timeout=operation.timeout, env=environment, on_line=result.line)
    if completed.code != 0:
        raise StepFailed(f"pyenv install {operation.version}: {build_cause(result, completed)}")
    check_build(acting, f"{operation.path}/bin/python3", operation.version, built=True)
    acting.run(["sync", "--file-system", operation.path], timeout=UNPACK)
    acting.call(_end_build, work, mark)


@performs(RemovePython)
def remove_python(machine: LocalMachine, operation: RemovePython, log: Log) -> None:
    """Remove an interpreter. Raises StepFailed, with nothing removed, if an environment still uses it."""
    acting = Acting.of(machine, operation.account, log, {})
    users = acting.call(environments_of, acting.home, operation.path, answer=list[str])
    if users:
        raise StepFailed(f"{operation.path} is kept because these environments use it: {', '.join(users)}")
    remove_tree(machine, operation, log)


def environments_of(home: str, python: str) -> list[str]:
    """Return the environments made from an interpreter: a service's, one in the home, or one of pyenv."""
    top = escape(home)
    candidates = [*glob(f"{top}/*/.venv"), *glob(f"{top}/*"), *glob(f"{top}/.pyenv/versions/*/envs/*")]
    result = []
    for path in candidates:
        here = os.open(dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            venv = venv_at(here, basename(path)) if os.path.isdir(path) and not os.path.islink(path) else None
        finally:
            os.close(here)
        if venv is not None and venv.home == f"{python}/bin":
            result.append(path)
    return result


def _begin_build(path: str, mark: str, work: str) -> None:
    """Remove what an interrupted build left. Safe for files of others: the path was empty, or is marked as ours."""
    import shutil

    if os.path.isdir(path) and not os.path.exists(mark) and os.listdir(path):
        raise StepFailed(
            f"{path} is neither a complete Python installation nor an unfinished one of bai-wizard: move it away"
        )
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    if os.path.isdir(path):
        # Atomically: what is left of a killed removal has to be marked as ours as well.
        os.rename(path, f"{work}/cut")
        shutil.rmtree(f"{work}/cut", ignore_errors=True)
    os.makedirs(path)
    with open(mark, "w", encoding="utf-8") as file:
        file.write(f"{basename(path)} is being built here by bai-wizard\n")


def _end_build(work: str, mark: str) -> None:
    import shutil

    shutil.rmtree(work, ignore_errors=True)
    os.unlink(mark)


def check_build(acting: Acting, python: str, version: str, *, built: bool = False) -> None:
    """Raise StepFailed if the interpreter at `python` has a problem."""
    fault = attempt(lambda: acting.attempt(argv_of(python), timeout=START, on_line=_unheard), version, built=built)
    if fault:
        raise StepFailed(f"Python {version} was unpacked, but {fault}" if not built else f"Python {version}: {fault}")


def attempt(run: Callable[[], Completed], version: str, *, built: bool = False) -> str:
    """Return the problem, including the kernel's reasons if a program cannot even be started."""
    try:
        completed = run()
    except StateUnknown as error:
        if isinstance(error, ProgramMissing):
            return "its loader is missing: the build is for another C library (musl), or bin/python3 is missing"
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == ENOEXEC:
            return "it is built for another processor architecture (Exec format error)"
        return str(error)
    return problem_of(completed, version, built=built)


def _unheard(_text: str, _stream: str) -> None:
    """Discard a line: the answer is not meant for the log."""


# Beginning of a line → build phase. python-build prints the first phase, configure and make the others.
PHASES: tuple[tuple[str, str], ...] = (
    (r"(Downloading|-> http)", "downloading the source"),
    (r"(Installing Python|checking for|configure:)", "configuring"),
    (r"(gcc|cc|clang|x86_64-linux-gnu-gcc|aarch64-linux-gnu-gcc)\b.* -c ", "compiling"),
    (r"(Creating directory |if test \"x(upgrade|install)\"|/usr/bin/install|Compiling ')", "installing"),
)


class BuildLog(Struct):
    """Passes on a build's lines and reports each new phase once, as one of four phases."""

    log: Log
    phase: int = -1
    lines: list[str] = field(default_factory=list)

    def line(self, text: str, stream: str) -> None:
        """Process one line of the build output."""
        self.lines = [*self.lines[-400:], text]
        for number, (pattern, name) in enumerate(PHASES):
            if number > self.phase and re.match(pattern, text):
                self.phase = number
                self.log(name, done=number, total=len(PHASES))
        self.log(text, stream=stream, level="debug")


def build_cause(result: BuildLog, completed: Completed) -> str:
    """Explain why a build stopped, with the end of its output."""
    hint = find_hint("pyenv", "\n".join(result.lines))
    return f"{hint.text} ({last_words(completed)})" if hint else last_words(completed)
