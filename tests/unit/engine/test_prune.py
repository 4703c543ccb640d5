"""Old runs are removed when another one ends, but never one that can be undone or resumed, or that is damaged."""

from __future__ import annotations

import os
import time

import pytest

from bai_wizard.engine import prune
from bai_wizard.engine.directory import RunDirectory, all_runs
from tests.unit.engine.test_run_selection import AGAIN, FIRST, SECOND, Seat
from tests.unit.engine.test_run_selection import seat as seat

pytestmark = pytest.mark.needs_root


def age(run: RunDirectory, days: float = prune.DAYS + 1) -> None:
    """Make a run look as if it had ended that many days ago."""
    then = time.time() - days * prune.SECONDS_PER_DAY
    os.utime(run.path / "result.json", (then, then))


def undone(seat: Seat, *steps: object) -> list[RunDirectory]:
    """An apply run, and the run that undid all of it."""
    before = len(all_runs(seat.paths))
    seat.apply(*steps)  # type: ignore[arg-type]
    assert seat.main("undo") == 0
    return all_runs(seat.paths)[before:]


def left(seat: Seat) -> set[str]:
    return {run.id for run in all_runs(seat.paths)}


def test_an_old_undone_run_goes_with_the_run_that_undid_it(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "NEWEST", 1)
    old = undone(seat, FIRST)
    for run in old:
        age(run)
    (seat.paths.runs.parent / "proofs").mkdir()
    new = seat.apply(SECOND)
    assert left(seat) == {new.id}
    assert sorted(path.name for path in seat.paths.runs.parent.iterdir()) == ["last-run.json", "runs"]
    assert new.number == 3, "numbers are not used again"
    assert seat.main("undo") == 0
    assert seat.has("second") is None


def test_a_run_that_holds_changes_is_kept_however_old_it_is(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "NEWEST", 1)
    held = seat.apply(FIRST)
    age(held)
    new = seat.apply(SECOND)
    assert left(seat) == {held.id, new.id}
    for run in (seat.main("undo"), seat.main("undo")):
        assert run == 0
    assert seat.has("first") is None


@pytest.mark.parametrize("newest, days", [(5, prune.DAYS + 1), (1, prune.DAYS - 1)])
def test_a_run_is_kept_that_is_recent_by_count_or_by_age(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, newest: int, days: float
) -> None:
    monkeypatch.setattr(prune, "NEWEST", newest)
    for run in (old := undone(seat, FIRST)):
        age(run, days)
    new = seat.apply(SECOND)
    assert left(seat) == {*(run.id for run in old), new.id}


def test_a_run_that_can_be_resumed_or_is_damaged_is_kept(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "NEWEST", 1)
    cut = seat.apply(FIRST, AGAIN.__class__(id="tuning.x", path="/etc/x.conf", text="x", why="tuning"), cut=3)
    damaged = undone(seat, SECOND)
    (damaged[0].path / "run.json").write_text("{")
    (damaged[1].path / "journal.jsonl").write_text("garbage\n")
    for run in damaged:
        age(run)
    seat.apply(AGAIN)
    assert {cut.id, damaged[0].id} <= left(seat)


def test_a_run_that_cannot_be_removed_is_reported_and_harms_nothing(
    seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "NEWEST", 1)
    for run in undone(seat, FIRST):
        age(run)

    def rename(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", rename)
    new = seat.apply(SECOND)
    assert new.id in left(seat)
    assert "old runs were not removed" in new.events.read_text()
