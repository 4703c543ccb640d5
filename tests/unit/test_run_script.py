"""`./run` as root runs nothing from a checkout that others could have modified, including through pip."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cache import CHECKOUT

pytestmark = pytest.mark.needs_root

ALICE, MALLORY = 64301, 64302
# Stands for the Python that makes the environment: `-m venv` and pip would be seen.
PYTHON = """#!/bin/sh
case "$*" in *venv* | *pip*) echo "$*" >>{place}/ran; exit 1 ;; esac
exec {python} "$@"
"""
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
PTH = ".venv/lib/python3.11/site-packages/mallory.pth"
Break = Callable[[Path], object]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    directory = tmp_path / "above/checkout"
    (directory / "tests/tools").mkdir(parents=True)
    for name in ("run", "pyproject.toml", "README.md", "LICENSE", *REQUIREMENTS, "tests/tools/environment.sh"):
        shutil.copy(CHECKOUT / name, directory / name)
    shutil.copytree(CHECKOUT / "bai_wizard", directory / "bai_wizard", ignore=shutil.ignore_patterns("__pycache__"))
    script = directory / "tests/tools/environment.sh"
    script.write_text(f"echo >{tmp_path}/sourced\n{script.read_text()}")
    python = tmp_path / "python"
    python.write_text(PYTHON.format(place=tmp_path, python=os.path.realpath(sys.executable)))
    python.chmod(0o755)
    return directory


def start(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run", "runs"],
        env={"PATH": ".:", "BAI_WIZARD_PYTHON": str(checkout.parents[1] / "python"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )


def give(path: str, uid: int) -> Break:
    return lambda directory: os.chown(directory / path, uid, uid)


def open_up(path: str, mode: int, gid: int = 0) -> Break:
    def change(directory: Path) -> None:
        os.chown(directory / path, 0, gid)
        (directory / path).chmod(mode)

    return change


def listed(path: str, uid: int) -> Break:
    """An access control list by which a user may write."""
    entries = ((0x01, 6, 2**32 - 1), (0x02, 6, uid), (0x04, 4, 2**32 - 1), (0x10, 6, 2**32 - 1), (0x20, 4, 2**32 - 1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    return lambda directory: os.setxattr(directory / path, "system.posix_acl_access", acl)


def with_environment(uid: int, name: str) -> Break:
    """A finished environment with one path of another user; its interpreter is a link, as venv makes it."""

    def change(directory: Path) -> None:
        (directory / ".venv/bin").mkdir(parents=True)
        (directory / PTH).parent.mkdir(parents=True)
        (directory / PTH).write_text("import mallory")
        (directory / "base").mkdir()
        (directory / "base/python").write_text(f"#!/bin/sh\necho >>{directory.parents[1]}/ran\n")
        (directory / "base/python").chmod(0o755)
        (directory / ".venv/bin/python").symlink_to(directory / "base/python")
        os.chown(directory / name, uid, uid)

    return change


REFUSED: dict[str, Break] = {
    "the checkout": give(".", MALLORY),
    "the directory above": open_up("..", 0o777),
    "the settings": give("pyproject.toml", MALLORY),
    "a shell script": open_up("tests/tools/environment.sh", 0o666),
    "a shell script of a group": open_up("tests/tools/environment.sh", 0o664, MALLORY),
    "a shell script with an access control list": listed("tests/tools/environment.sh", MALLORY),
    "the directory above, of a group": open_up("..", 0o775, MALLORY),
    "compiled code": open_up("bai_wizard/core", 0o777),
    "a module": open_up("bai_wizard/core/step.py", 0o666),
    "a module of a group": open_up("bai_wizard/core/step.py", 0o664, MALLORY),
    "the settings of a group": open_up("pyproject.toml", 0o664, MALLORY),
    "the environment": with_environment(MALLORY, ".venv"),
    "the environment's programs": with_environment(MALLORY, ".venv/bin"),
    "what Python runs at its start": with_environment(MALLORY, PTH),
    "where Python looks for that": with_environment(MALLORY, str(Path(PTH).parent)),
    "the interpreter": with_environment(MALLORY, "base/python"),
    "the interpreter's directory": with_environment(MALLORY, "base"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_files_writable_by_others_are_refused(what: str, checkout: Path, tmp_path: Path) -> None:
    REFUSED[what](checkout)
    done = start(checkout)
    assert done.returncode == 3, done.stderr
    assert "can be written by users other than root and you" in done.stderr
    assert ("setfacl -b" in done.stderr) == ("access control list" in what)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "sourced").exists()


@pytest.mark.parametrize("uid, caller", [(0, ""), (0, str(ALICE)), (ALICE, str(ALICE))])
def test_files_of_root_or_the_user_who_called_sudo_are_started(
    uid: int, caller: str, checkout: Path, tmp_path: Path
) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, uid, uid)
    done = start(checkout, **({"SUDO_UID": caller} if caller else {}))
    assert "venv" in (tmp_path / "ran").read_text(), done.stderr


@pytest.mark.parametrize("caller", ["", str(MALLORY), "x"])
def test_files_of_other_users_than_the_caller_of_sudo_are_refused(caller: str, checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, ALICE, ALICE)
    assert start(checkout, **({"SUDO_UID": caller} if caller else {})).returncode == 3


# Stands for a Python that makes environments: pip's arguments are noted, the rest is real.
MAKER = """#!/bin/sh
case "$*" in
*'-m venv'*) for place; do :; done; mkdir -p "$place/bin"; cp "$0" "$place/bin/python" ;;
*'-m pip install'*) echo "$*" >>'{place}/installed' ;;
*compileall*) ;;
*) exec {python} "$@" ;;
esac
"""


@pytest.mark.parametrize("group", ["", "dev"])
def test_development_tools_come_from_their_group(group: str, checkout: Path, tmp_path: Path) -> None:
    """Pinned with hashes, then the checkout alone; the path of the environment has a blank."""
    maker, venv = tmp_path / "maker", tmp_path / "virtual environment"
    maker.write_text(MAKER.format(place=tmp_path, python=os.path.realpath(sys.executable)))
    maker.chmod(0o755)
    script = f"set -u; checkout={checkout}; group={group}; . {checkout}/tests/tools/environment.sh"
    environment = {"PATH": os.environ["PATH"], "BAI_WIZARD_PYTHON": str(maker), "BAI_WIZARD_VENV": str(venv)}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    pinned, own = (tmp_path / "installed").read_text().splitlines()
    name = f"requirements{f'-{group}' if group else ''}.txt"
    assert pinned.endswith(f" --require-hashes --requirement {checkout}/{name}")
    assert own.endswith(f" --no-deps --no-build-isolation --editable {checkout}")
    assert (venv / "bai-wizard.stamp").read_text().split()[-1] == (group or "run")
