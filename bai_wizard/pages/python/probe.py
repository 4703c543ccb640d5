"""Asks the node which interpreters and environments it has. Reads files, and starts two programs:
the system's own Python, and the interpreter that would be taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bai_wizard.core.context import Context
from bai_wizard.core.errors import CannotTell
from bai_wizard.core.facts import Absent, Fact, Known, Unknown
from bai_wizard.core.machine import Machine
from bai_wizard.core.state import Venv
from bai_wizard.pages.python.chosen import fault_of_chosen, size_of_chosen
from bai_wizard.pages.python.cpu import flags_of, x86_level
from bai_wizard.pages.python.facts import PipSettings, PythonFacts
from bai_wizard.pages.python.releases import number_of

if TYPE_CHECKING:
    from bai_wizard.pages.python.settings import PythonSettings

T = TypeVar("T")
OS_RELEASE = ("/usr/lib/os-release", "/etc/os-release")
# Where pip looks for its settings, the later ones winning; %s is the account's home.
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "%s/.config/pip/pip.conf", "%s/.pip/pip.conf")
UV_DIRECTORY = "%s/.local/share/uv/python"


def probe(machine: Machine, settings: PythonSettings, context: Context) -> PythonFacts:
    """The facts of the page."""
    home = home_of(machine, context)
    base = (settings.base_dir if settings.method == "standalone" else "") or f"{home}/.static-python"
    pyenv = (settings.base_dir if settings.method == "pyenv" else "") or f"{home}/.pyenv"
    cpuinfo = _or(lambda: machine.kernel_text("/proc/cpuinfo"), None) or ""
    facts = PythonFacts(
        arch=architecture(machine),
        level=x86_level(flags_of(cpuinfo)),
        codename=_codename(machine),
        home=home,
        base_dir=base,
        system=system_python(machine),
        standalone=_fact(lambda: interpreters(machine, f"{base}/versions")),
        pyenv=_fact(lambda: interpreters(machine, f"{pyenv}/versions")),
        uv=_fact(lambda: interpreters(machine, UV_DIRECTORY % home)),
        venvs=environments(machine, home),
        pip=pip_settings(machine, home),
    )
    return replace(
        facts,
        fault=fault_of_chosen(machine, settings, facts, context),
        size=size_of_chosen(machine, settings, facts, context),
    )


def home_of(machine: Machine, context: Context) -> str:
    """The operation account's home: the real one, else the one that the answers promise."""
    account = _or(lambda: machine.account(context.account), None)
    return account.home if account is not None else context.home


def interpreters(machine: Machine, directory: str) -> tuple[str, ...]:
    """The exact versions of the interpreters in the directories of a directory, oldest first."""
    found = set()
    for name in machine.names(directory):
        interpreter = None if name.startswith(".") else machine.interpreter(f"{directory}/{name}")
        if interpreter is not None and interpreter.version:
            found.add(interpreter.version)
    return tuple(sorted(found, key=number_of))


def environments(machine: Machine, home: str) -> tuple[tuple[str, Fact[Venv]], ...]:
    """The virtual environments of services: each `.venv` in a directory of the home."""
    found: list[tuple[str, Fact[Venv]]] = []
    nothing: tuple[str, ...] = ()
    for name in _or(lambda: machine.names(home), nothing):
        path = f"{home}/{name}/.venv"
        try:
            venv = None if name.startswith(".") else machine.venv(path)
        except CannotTell as error:
            found.append((name, Unknown(str(error))))
            continue
        if venv is not None:
            found.append((name, Known(venv)))
    return tuple(found)


def system_python(machine: Machine) -> Fact[str]:
    """The version of the system's own Python."""
    try:
        said = machine.look(("/usr/bin/python3", "--version"))
    except CannotTell as error:
        return Absent() if "not installed" in str(error) else Unknown(str(error))
    version = re.fullmatch(r"Python (\d+\.\d+\.\d+)\S*", (said.out + said.err).strip())
    return Known(version[1]) if version else Unknown(f"python3 --version said {said.out!r}")


def pip_settings(machine: Machine, home: str) -> PipSettings:
    """Package sources from pip's own configuration; of several files the last that says something wins."""
    values: dict[str, str] = {}
    for pattern in PIP_FILES:
        path = pattern % home if "%s" in pattern else pattern
        values.update(_pip_values(_or(lambda path=path: machine.text(path), None) or ""))  # type: ignore[misc]
    return PipSettings(
        values.get("index-url", ""),
        tuple(values.get("extra-index-url", "").split()),
        tuple(values.get("find-links", "").split()),
    )


def _pip_values(text: str) -> dict[str, str]:
    """The values of [global] and [install] that are not empty."""
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except Error:
        return {}
    sections = [section for section in ("global", "install") if parser.has_section(section)]
    pairs = [(key.replace("_", "-"), value) for section in sections for key, value in parser.items(section)]
    return {key: value.strip() for key, value in pairs if value.strip()}


def architecture(machine: Machine) -> str:
    """uname's name of the architecture; empty where nothing tells."""
    arch = _or(lambda: machine.kernel_text("/proc/sys/kernel/arch"), None)
    if arch:
        return arch
    said = _or(lambda: machine.look(("uname", "-m")), None)
    return said.out.strip() if said is not None else ""


def _codename(machine: Machine) -> str:
    for path in OS_RELEASE:
        found = re.search(r"^VERSION_CODENAME=\"?(\w+)", _or(lambda path=path: machine.text(path), None) or "", re.M)  # type: ignore[misc]
        if found:
            return found[1]
    return ""


def _fact(read: Callable[[], T]) -> Fact[T]:
    try:
        return Known(read())
    except CannotTell as error:
        return Unknown(str(error))


def _or(read: Callable[[], T], default: T) -> T:
    """For what only helps to choose a default: no answer is the same as nothing said."""
    try:
        return read()
    except CannotTell:
        return default
