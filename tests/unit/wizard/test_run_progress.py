"""The progress of a run by its events: elapsed, left, throughput; the same for an undo."""

from __future__ import annotations

import pytest

from bai_wizard.core.event import Event, EventKind
from bai_wizard.core.step import Pending, Plan, PlannedStep
from bai_wizard.steps.files import DropIn
from bai_wizard.steps.packages import Packages
from bai_wizard.ui.progress import LogFilter, LogLine, RunProgress, local_time, seconds_of
from bai_wizard.ui.tui.widgets.run_head import head_lines

T0 = seconds_of("2026-11-29T10:00:00Z")


def at(seconds: float, kind: EventKind, step: str = "", text: str = "", **about: object) -> Event:
    time = f"2026-11-29T10:{int(seconds) // 60:02}:{int(seconds) % 60:02}.000000Z"
    return Event(t=time, run="r", id=0, kind=kind, step=step, text=text, **about)  # type: ignore[arg-type]


def progress(*events: Event, kind: str = "apply", changes: int = 0) -> RunProgress:
    """A run of a quick step and a slow one that takes 60 seconds."""
    steps = (
        DropIn(id="tuning.file", path="/etc/x", text="", why="y"),
        Packages(id="docker.packages", names=("docker-ce",), why="install Docker"),
    )
    plan = Plan("gpu01", () if kind == "undo" else tuple(PlannedStep(step, Pending()) for step in steps))
    result = RunProgress.of_plan("r", plan, kind, changes=changes)
    for event in events:
        result.apply_event(event)
    return result


def head(run: RunProgress, now: float, *, is_running: bool = True) -> list[str]:
    return [line.plain for line in head_lines(run, T0 + now, 78, is_running=is_running)]


QUICK = (at(0, "run"), at(0, "started", "tuning.file"), at(1, "finished", "tuning.file", outcome="changed"))


def test_time_counts_what_the_steps_are_expected_to_take() -> None:
    run = progress(*QUICK, at(1, "started", "docker.packages", "install Docker"))
    assert run.left(T0 + 31) == pytest.approx(30, abs=1)
    assert 0.45 < run.fraction(T0 + 31) < 0.55, "half of the minute, although one of two steps is done"
    assert run.elapsed(T0 + 31) == 31
    lines = head(run, 31)
    assert "1 of 2 steps" in lines[0]
    assert "31 s elapsed, ~30 s left" in lines[1]
    assert "+ Tuning 1/1" in lines[2]
    assert "> Docker 0/1" in lines[2]


def test_the_step_s_own_progress_replaces_the_estimate() -> None:
    run = progress(*QUICK, at(1, "started", "docker.packages"))
    run.apply_event(at(11, "progress", "docker.packages", "Unpacking docker-ce", done=50, total=100))
    assert run.left(T0 + 11) == pytest.approx(10)
    assert any("50%" in line and "Unpacking docker-ce" in line for line in head(run, 11))


def test_bytes_have_a_throughput() -> None:
    run = progress(*QUICK, at(1, "started", "docker.packages"))
    for second in range(1, 9):
        done = second * 50_000_000
        run.apply_event(at(1 + second, "progress", "docker.packages", "layer", done=done, total=1_000_000_000))
    step = run.steps["docker.packages"]
    assert step.rate() == pytest.approx(50_000_000)
    assert any("400 MB of 1.0 GB  50 MB/s" in line for line in head(run, 9))


def test_an_ended_run_tells_how_long_it_took() -> None:
    run = progress(*QUICK, at(252, "summary", text="refused"))
    assert any("took 4:12 min" in line for line in head(run, 9999, is_running=False))
    assert not any("left" in line for line in head(run, 9999, is_running=False))


def test_an_undo_counts_its_changes() -> None:
    run = progress(at(0, "started", "undo", "undo run x"), kind="undo", changes=42)
    for number in range(21):
        run.apply_event(at(number, "log", "undo", f"- /etc/file-{number}"))
    run.apply_event(at(22, "log", "undo", "some output of a program"))
    step = run.steps["undo"]
    assert (step.done, step.total) == (21, 42)
    assert any("50%" in line for line in head(run, 23))
    run.apply_event(at(24, "finished", "undo", outcome="changed"))
    assert run.finished == 1


def test_an_undo_of_unknown_size_never_says_that_it_is_done() -> None:
    run = progress(at(0, "started", "undo"), at(1, "log", "undo", "- /etc/x"), kind="undo")
    assert (run.steps["undo"].done, run.steps["undo"].total) == (1, 0)
    assert not any("100%" in line for line in head(run, 2))


def test_no_line_of_the_head_is_longer_than_the_screen() -> None:
    run = progress(*QUICK, at(1, "started", "docker.packages", "x" * 300))
    run.apply_event(at(2, "progress", "docker.packages", "y" * 300, done=1, total=100))
    assert all(len(line) <= 78 for line in head(run, 5))


@pytest.mark.parametrize(("zone", "time"), [("UTC", "10:00:05"), ("Asia/Seoul", "19:00:05")])
def test_the_log_has_local_time(zone: str, time: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from time import tzset

    from bai_wizard.ui import progress as module

    monkeypatch.setenv("TZ", zone)
    tzset()
    module._local_second.cache_clear()
    try:
        line = progress().apply_event(at(5, "log", "tuning.file", "text"))
        assert line is not None
        assert line.time == time
        assert local_time("no time") == ""
    finally:
        monkeypatch.undo()
        tzset()
        module._local_second.cache_clear()


def test_filters_of_the_log() -> None:
    line = LogLine("10:00:00", "docker", "docker.packages", "warning", "W: x")
    passing = [LogFilter(), LogFilter("docker"), LogFilter(step="docker.packages"), LogFilter(level="warning")]
    assert all(each.passes(line) for each in passing)
    stopping = [LogFilter("tuning"), LogFilter(step="docker.key"), LogFilter(level="error")]
    assert not any(each.passes(line) for each in stopping)
