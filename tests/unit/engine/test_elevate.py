"""Root runs this code only if nobody except root and the caller could have modified it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine import launch
from bai_wizard.engine.launch import elevate, refuse_foreign_code

SOMEBODY = 54321
Break = Callable[[Path], None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with an interpreter that is a link, a library and the package."""
    for directory in ("environment/bin", "environment/lib/site-packages", "base/bin", "base/lib", "package/core"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "base/bin/python").touch()
    (tmp_path / "environment/bin/python").symlink_to("../../base/bin/python")
    for file in ("base/lib/os.py", "environment/lib/site-packages/rich.py", "package/core/step.py"):
        (tmp_path / file).touch()
    paths = [str(tmp_path / "base/lib"), str(tmp_path / "environment/lib/site-packages"), "/nowhere.zip"]
    monkeypatch.setattr(sys, "path", paths)
    return tmp_path


def judge(directory: Path) -> None:
    refuse_foreign_code(directory / "package", directory / "environment/bin/python")


def test_files_of_root_only_are_accepted(place: Path) -> None:
    judge(place)
    # In a directory with the sticky bit, such as /tmp, all users can create files, but not remove files of others.
    place.chmod(0o1777)
    judge(place)


BREAKS: dict[str, Break] = {
    "the package": lambda directory: (directory / "package/core/step.py").chmod(0o666),
    "a directory of it": lambda directory: (directory / "package/core").chmod(0o777),
    "the directory above": lambda directory: directory.chmod(0o777),
    "a library": lambda directory: (directory / "environment/lib/site-packages/rich.py").chmod(0o646),
    "the standard library": lambda directory: (directory / "base/lib/os.py").chmod(0o602),
    "the interpreter": lambda directory: (directory / "base/bin/python").chmod(0o777),
    "the directory of the interpreter's link": lambda directory: (directory / "environment/bin").chmod(0o777),
}


@pytest.mark.parametrize("what", BREAKS)
def test_files_writable_by_others_are_refused(what: str, place: Path) -> None:
    BREAKS[what](place)
    with pytest.raises(PreflightError, match="can be written by users other than root and you"):
        judge(place)


@pytest.mark.needs_root
@pytest.mark.parametrize("way", ["owner", "group"])
def test_files_of_other_users_are_refused(way: str, place: Path) -> None:
    file = place / "package/core/step.py"
    os.chown(file, SOMEBODY if way == "owner" else -1, -1 if way == "owner" else SOMEBODY)
    if way == "group":
        judge(place)
        file.chmod(0o664)
    with pytest.raises(PreflightError, match=str(file)):
        judge(place)


def test_sudo_gets_the_absolute_interpreter_and_must_not_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("bai_wizard.engine.launch.refuse_foreign_code", lambda *_: None)
    monkeypatch.setattr(os, "execv", lambda program, argv: called.append([program, *argv[1:]]))
    sudo = tmp_path / "sudo"
    sudo.touch(mode=0o755)
    monkeypatch.setattr("bai_wizard.core.programs.PROGRAM_DIRECTORIES", (str(tmp_path),))
    elevate(["--headless", "a.toml"], ask=False)
    words = [sys.executable, "-I", "-m", "bai_wizard", "--headless", "a.toml"]
    assert called == [[str(sudo), "-n", "--", *words]]
    monkeypatch.setattr("bai_wizard.core.programs.PROGRAM_DIRECTORIES", ("/nowhere",))
    with pytest.raises(PreflightError, match="sudo is not installed"):
        elevate(["runs"], ask=False)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)])
def test_the_code_of_an_elevated_command(
    script: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\n{script}\n')
    sudo.chmod(0o755)
    monkeypatch.setattr(launch, "_sudo", lambda: str(sudo))
    before = signal.getsignal(signal.SIGINT)
    assert launch.run_elevated(["undo", "--plan"]) == code
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "words").read_text() == f"-- {sys.executable} -I -m bai_wizard undo --plan\n"
