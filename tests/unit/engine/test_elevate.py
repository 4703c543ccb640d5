"""Before root runs this code, nobody but root and the invoker may have been able to write it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bai_wizard.core.errors import PreflightError
from bai_wizard.engine.launch.elevate import elevate, refuse_foreign_code

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


def judge(place: Path) -> None:
    refuse_foreign_code(place / "package", place / "environment/bin/python")


def test_what_is_ours_alone_is_taken(place: Path) -> None:
    judge(place)
    # Everybody may make files in a directory with the sticky bit, and nobody take ours away: /tmp is one.
    place.chmod(0o1777)
    judge(place)


BREAKS: dict[str, Break] = {
    "the package": lambda place: (place / "package/core/step.py").chmod(0o666),
    "a directory of it": lambda place: (place / "package/core").chmod(0o777),
    "the directory above": lambda place: place.chmod(0o777),
    "a library": lambda place: (place / "environment/lib/site-packages/rich.py").chmod(0o646),
    "the standard library": lambda place: (place / "base/lib/os.py").chmod(0o602),
    "the interpreter": lambda place: (place / "base/bin/python").chmod(0o777),
    "the directory of the interpreter's link": lambda place: (place / "environment/bin").chmod(0o777),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_others_may_write_is_refused(what: str, place: Path) -> None:
    BREAKS[what](place)
    with pytest.raises(PreflightError, match="can be written by others than root and you"):
        judge(place)


@pytest.mark.needs_root
@pytest.mark.parametrize("way", ["owner", "group"])
def test_what_belongs_to_somebody_else_is_refused(way: str, place: Path) -> None:
    file = place / "package/core/step.py"
    os.chown(file, SOMEBODY if way == "owner" else -1, -1 if way == "owner" else SOMEBODY)
    if way == "group":
        judge(place)
        file.chmod(0o664)
    with pytest.raises(PreflightError, match=str(file)):
        judge(place)


def test_sudo_gets_the_absolute_interpreter_and_must_not_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("bai_wizard.engine.launch.elevate.refuse_foreign_code", lambda *_: None)
    monkeypatch.setattr(os, "execv", lambda program, argv: called.append([program, *argv[1:]]))
    sudo = tmp_path / "sudo"
    sudo.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    elevate(["--headless", "a.toml"], ask=False)
    words = [sys.executable, "-I", "-m", "bai_wizard", "--headless", "a.toml"]
    assert called == [[str(sudo), "-n", "--", *words]]
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreflightError, match="sudo is not installed"):
        elevate(["runs"], ask=False)
