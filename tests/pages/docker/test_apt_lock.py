"""The package manager's locks, held by another real process."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bai_wizard.core.errors import StepFailed
from bai_wizard.resources.packages_apply import LOCKS, holder, wait_for_locks
from tests.waiting import PATIENCE, ends

HOLD = """import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.lockf(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        yield child
        child.stdin.close()


@pytest.mark.parametrize("name", LOCKS)
def test_the_holder_of_a_lock_is_named(tmp_path: Path, name: str) -> None:
    assert holder(tmp_path) == ""
    with held(tmp_path / name) as child:
        assert holder(tmp_path) == f"{Path(sys.executable).name} (process {child.pid})"
    assert holder(tmp_path) == ""


def test_a_file_that_no_one_locks_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / LOCKS[0]).touch()
    assert holder(tmp_path) == ""


def test_waiting_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    lines: list[str] = []
    with held(tmp_path / LOCKS[0]) as child:
        assert child.stdin is not None
        subprocess.Popen(["sh", "-c", f"sleep 1; kill {child.pid}"])
        with ends("the wait"):
            wait_for_locks(tmp_path, 2 * PATIENCE, lambda text, **_: lines.append(text))
        assert child.wait() != 0, "it ends while the lock is held"
    assert lines[0].startswith("waiting for python")


def test_patience_ends_with_the_name_and_without_violence(tmp_path: Path) -> None:
    with held(tmp_path / LOCKS[0]) as child, pytest.raises(StepFailed) as failure:
        wait_for_locks(tmp_path, 0, lambda text, **_: None)
    assert f"(process {child.pid})" in str(failure.value)
    assert "never delete" in str(failure.value)


def test_a_run_that_is_asked_to_stop_waits_no_longer(tmp_path: Path) -> None:
    asked = itertools.count()
    with (
        ends("the wait"),
        held(tmp_path / LOCKS[0]),
        pytest.raises(StepFailed, match="stopped as requested"),
    ):
        wait_for_locks(tmp_path, 2 * PATIENCE, lambda text, **_: None, should_stop=lambda: next(asked) > 1)
