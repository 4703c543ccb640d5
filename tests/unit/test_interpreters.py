"""Other releases of Python, another path and another user: a clone of the checkout with its own environment."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.clone import clone
from tests.sampling import seed

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

MINORS = ("3.12", "3.13", "3.14")
# Where pyenv, uv and others install interpreters.
PLACES = ("~/.pyenv/versions/{0}.*/bin/python{0}", "~/.local/share/uv/python/cpython-{0}.*/bin/python{0}",
          "/opt/*/bin/python{0}", "/usr/local/bin/python{0}", "/usr/bin/python{0}")  # fmt: skip
NOBODY = 65534
PYTEST = (".venv/bin/python", "-m", "pytest", "-q", "-rfE", "--tb=short", "-n", "0", "tests/unit")


@cache
def interpreter(minor: str, uid: int | None = None) -> str | None:
    """An interpreter of that release that a user can run and that can create environments."""
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid is not None else []
    for place in PLACES:
        for path in sorted(glob.glob(os.path.expanduser(place.format(minor)))):
            if subprocess.run([*user, path, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
                return path
    return None


def environment(checkout: Path, python: str) -> dict[str, str]:
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    outside = {name: value for name, value in os.environ.items() if name != "BAI_WIZARD_SOAK"}
    return {**outside, "BAI_WIZARD_PYTHON": python, "BAI_WIZARD_SEED": str(seed()), "HOME": str(home)}


def run(checkout: Path, python: str, *words: str, user: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [*user, *words], cwd=checkout, env=environment(checkout, python), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {(done.stdout + done.stderr)[-30000:]}"
    return done.stdout


@pytest.mark.parametrize("minor", MINORS)
def test_the_checks_and_tests_pass_with_this_python_at_a_path_with_spaces(minor: str, tmp_path: Path) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"not on this machine: Python {minor}")
    checkout = clone(tmp_path / "a path with spaces and ü")
    assert "types         ok" in run(checkout, python, "./test", "--static")
    assert run(checkout, python, ".venv/bin/python", "--version").startswith(f"Python {minor}.")
    assert "usage: bai-wizard" in run(checkout, python, "./run", "--demo", "--help")
    run(checkout, python, *PYTEST)


@pytest.mark.needs_root
def test_users_other_than_root_can_run_the_tests(tmp_path: Path) -> None:
    """In a directory that only this user can write."""
    python = next((path for minor in ("3.11", *MINORS) if (path := interpreter(minor, NOBODY))), None)
    if python is None:
        pytest.skip("not on this machine: a Python that other users can run")
    home = Path("/var/tmp") / f"bai-wizard-nobody-{os.getpid()}"
    checkout = clone(home / "checkout")
    (home / "home").mkdir()
    try:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(home)], check=True)
        user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        run(checkout, python, "./test", "--static", user=user)
        run(checkout, python, *PYTEST, user=user)
    finally:
        shutil.rmtree(home)
