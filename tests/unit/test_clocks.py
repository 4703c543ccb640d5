"""Waits and time limits never depend on the wall clock."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bai_wizard
from bai_wizard.core.step import Plan
from bai_wizard.engine.directory import create_run
from bai_wizard.engine.events import RunInterrupted, follow
from bai_wizard.engine.lock import StatePaths

PACKAGE = Path(bai_wizard.__file__).parent
# Every reader of the wall clock, and why that is right: time stamps for people, and ages of what is kept on disk.
WALL = {
    "commands/drift.py": "time stamp in the metrics",
    "doctor/bundle.py": "time stamps in the archive",
    "doctor/report.py": "time stamps",
    "engine/directory.py": "time stamps",
    "engine/executor.py": "time stamp",
    "engine/events.py": "time stamp, and whether a run was made just now by another process",
    "engine/journal.py": "time stamp",
    "engine/maintenance.py": "the time of day, against the operator's window",
    "engine/plan_file.py": "time stamp",
    "engine/prune.py": "the age of a run, against the time stamp of its result",
    "node/hardware.py": "the uptime, against the boot time that the kernel reports by the same clock",
    "ui/text/output.py": "time stamps",
    "ui/text/report.py": "time stamp",
    "pages/node/check_sources.py": "the day, against the days until which sources and keys are valid",
    "pages/account/checks.py": "the day, against the days in /etc/shadow",
    "pages/network_probes.py": "what is compared with other nodes' clocks",
    "ui/saving.py": "time stamp of a draft",
    "ui/workloads.py": "how long a container has been running, against the time stamp of Docker",
    "ui/tui/widgets/run_head.py": "the time that a run has taken, against the time stamps of its events",
}

ASKED = ("time.time", "time.time_ns", "time.CLOCK_REALTIME", "datetime.now", "datetime.utcnow", "date.today")


def readers(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (alias for alias in node.names if alias.name in ("time", "time_ns"))
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ASKED:
            yield node


def test_every_reader_of_the_wall_clock_has_a_reason() -> None:
    result = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(True for _ in readers(ast.parse(path.read_text())))
    }
    assert result == set(WALL)


def test_only_the_age_of_a_consent_goes_by_the_boot_clock() -> None:
    """Limits go by CLOCK_MONOTONIC, which stands still while the machine is suspended."""
    result = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if "time.CLOCK_BOOTTIME" in path.read_text()
    }
    assert result == {"engine/lock.py"}


@pytest.mark.parametrize("age", [-86400.0, 0.0, 86400.0])
def test_a_run_that_was_just_started_is_waited_for_at_any_date(
    age: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set between the start of the executor and its first event."""
    paths = StatePaths(tmp_path)
    run = create_run(paths, Plan("test"), {})
    moment = time.time() - age
    os.utime(run.path / "run.json", (moment, moment))
    looks = iter(range(100))
    for _ in follow(run, lambda: False, detached=lambda: next(looks) > 2, started=True):
        raise AssertionError
    assert next(looks) > 2
    if age > 0:
        with pytest.raises(RunInterrupted):
            list(follow(run, lambda: False))
