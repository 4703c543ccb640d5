"""Interpreters, virtual environments and what is installed in them, from their files: no interpreter is started."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from bai_wizard.core.requirement import normalised
from bai_wizard.core.state import Interpreter, Package, Venv

if TYPE_CHECKING:
    from bai_wizard.machine.local import LocalMachine

DEADLINE = 5.0
# Lies in a prefix while a build goes on there: what holds it is half an interpreter.
UNFINISHED = ".bai-wizard.unfinished"
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VERSION = re.compile(r'^#define\s+PY_VERSION\s+"([^"]+)"', re.MULTILINE)
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.dist-info")


def interpreter_state(machine: LocalMachine, path: str) -> Interpreter | None:
    """The Python at a path; None where nothing is, or something else."""
    found = machine.files.look_below(path, interpreter_at, answer=Interpreter | None, deadline=DEADLINE)
    assert found is None or isinstance(found, Interpreter)
    return found


def venv_state(machine: LocalMachine, path: str) -> Venv | None:
    """The virtual environment at a path; its version is empty where its Python is gone."""
    found = machine.files.look_below(path, venv_at, answer=Venv | None, deadline=DEADLINE)
    assert found is None or isinstance(found, Venv)
    return found


def distribution_state(machine: LocalMachine, name: str) -> Package | None:
    """An installed distribution, named `VENV:NAME`."""
    venv, _, wanted = name.rpartition(":")
    found = machine.files.look_below(venv, distribution_at, wanted, answer=Package | None, deadline=DEADLINE)
    assert found is None or isinstance(found, Package)
    return found


def interpreter_at(directory: int, name: str) -> Interpreter | None:
    """By the header that every build installs; what is unfinished has no version."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        if UNFINISHED in os.listdir(here):
            return Interpreter("")
        if not _is_there("bin/python3", here):
            return None
        for include in _names("include", here):
            if include.startswith("python3"):
                found = _VERSION.search(_text(f"include/{include}/patchlevel.h", here))
                if found is not None:
                    return Interpreter(found[1])
        return None
    finally:
        os.close(here)


def venv_at(directory: int, name: str) -> Venv | None:
    """By its pyvenv.cfg."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        text = _text("pyvenv.cfg", here)
        if not text:
            return None
        pairs = (line.partition("=") for line in text.splitlines())
        values = {key.strip().lower(): value.strip() for key, _, value in pairs}
        version = values.get("version_info", values.get("version", ""))
        return Venv(version if _is_there("bin/python", here) else "", values.get("home", ""))
    finally:
        os.close(here)


def distribution_at(directory: int, name: str, wanted: str) -> Package | None:
    """By its metadata directory in site-packages."""
    here = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        for python in _names("lib", here):
            for entry in _names(f"lib/{python}/site-packages", here):
                found = _DISTRIBUTION.fullmatch(entry)
                if found is not None and normalised(found["name"]) == wanted:
                    return Package(found["version"])
        return None
    finally:
        os.close(here)


def _is_there(name: str, directory: int) -> bool:
    """True when a name leads to something, links followed."""
    try:
        os.stat(name, dir_fd=directory)
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
