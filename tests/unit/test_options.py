"""Options of ./test: --all does not let tests be skipped, --seed draws what Hypothesis tries as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cache import CHECKOUT
from tests.needs import MAY_BE_SKIPPED

TESTS = """
import pytest
from hypothesis import given, settings, strategies

@pytest.mark.skipif(True, reason="zsh is not installed")
def test_hidden(): pass

@pytest.mark.skipif(True, reason="this file system has no such attribute: no")
def test_of_this_machine(): pass

def test_skipped_within():
    pytest.skip("no CPython built from source that could be packed")

drawn = []

@given(strategies.integers())
@settings(database=None)
def test_drawn(number):
    drawn.append(number)

def test_print():
    print("drawn:", hash(tuple(drawn)))
"""


def results(directory: Path, *options: str, **variables: str) -> tuple[dict[str, str], str]:
    """The outcome of each test, and a digest of the numbers that Hypothesis drew."""
    (directory / "test_it.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "tests.conftest", "-rA",
            "-o", "addopts=", "--rootdir", str(directory), "-q", *options, "test_it.py"]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BAI_WIZARD_", "PYTEST_"))}
    environment = {**kept, "PYTHONPATH": str(CHECKOUT), **variables}
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    drawn = re.search(r"^drawn: (-?\d+)$", done.stdout, re.MULTILINE)
    assert drawn, done.stdout + done.stderr
    outcomes = re.findall(
        r"^(ERROR|FAILED|PASSED|SKIPPED).*?(?:::(\w+)|: (.*))(?: - .*)?$", done.stdout, re.MULTILINE
    )
    return {name or reason: word for word, name, reason in outcomes}, drawn[1]


def test_options_of_a_run(tmp_path: Path) -> None:
    usual, _ = results(tmp_path, "--seed", "7")
    every, _ = results(tmp_path, "--seed", "7", "--all")
    assert (usual["zsh is not installed"], every["test_hidden"], every["test_skipped_within"]) == (
        "SKIPPED", "ERROR", "FAILED",
    )  # fmt: skip
    assert every["this file system has no such attribute: no"] == "SKIPPED"
    assert every["test_drawn"] == "PASSED"


@pytest.mark.parametrize("continuous", ["", "true"])
def test_hypothesis_draws_by_the_seed(tmp_path: Path, continuous: str) -> None:
    """With CI in the environment, Hypothesis would ignore the seed."""
    first, again, other = (results(tmp_path, "--seed", seed, CI=continuous)[1] for seed in ("7", "7", "8"))
    assert first == again != other


@pytest.mark.parametrize("reason", ["fish is not installed", "needs root", "no dpkg here", "not installed: gcc", "x"])
def test_what_can_be_installed_must_not_be_skipped(reason: str) -> None:
    assert not MAY_BE_SKIPPED.match(reason)
