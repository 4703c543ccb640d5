"""Each of the most important failures has a check, a test that causes it, and a test of a similar harmless state."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bai_wizard.doctor.run import all_checks
from bai_wizard.doctor.search import known_failures
from tests.node.faults import ON_A_NODE, STALE

TESTS = Path(__file__).parents[2]
LISTED: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_name("first_sixty.toml").read_text())
# The one test that makes many of them, by the table of faults.
TABLE = "node/test_doctor_seeded_failures.py"


@pytest.fixture(scope="module")
def collected() -> frozenset[str]:
    """Every test of the files that the list names, as pytest itself calls them."""
    files = {test.partition("::")[0] for about in LISTED.values() for name, test in about.items() if name != "check"}
    argv = [sys.executable, "-m", "pytest", "--collect-only", "--soak", "-q", "-n0", "-p", "no:cacheprovider"]
    argv += sorted(f"tests/{file}" for file in files)
    asked = subprocess.run(argv, cwd=TESTS.parent, capture_output=True, text=True, check=True)
    return frozenset(line.removeprefix("tests/") for line in asked.stdout.splitlines() if "::" in line)


def test_each_has_a_check() -> None:
    known = {check.id for check in all_checks()}
    checks = {failure.id: failure.checks for failure in known_failures()}
    assert [id for id, about in LISTED.items() if about.get("check", id) not in known] == []
    for id, about in LISTED.items():
        assert about.get("check", id) in checks[id], "its words alone would decide"


def test_each_is_made_and_has_a_counterpart(collected: frozenset[str]) -> None:
    missing = [(id, about[side]) for id, about in LISTED.items() for side in ("planted", "silent")
               if about[side] not in collected]  # fmt: skip
    assert missing == []


def test_failures_marked_as_real_are_created(collected: frozenset[str]) -> None:
    of_the_table = {fault.id for fault in (*ON_A_NODE, STALE)}
    for id, about in LISTED.items():
        made = about.get("made")
        if made == TABLE:
            assert about.get("check", id) in of_the_table, id
        elif made:
            assert made in collected, id
        else:
            assert about.get("check", id) not in of_the_table, f"{id} is made for real, and the list says nothing"
    assert sum("made" in about for about in LISTED.values()) >= 30
