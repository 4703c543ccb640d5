"""The log panel: search, filter by page and level, follow and pause, copy by OSC 52, save; by keys at 80×24."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from bai_wizard.core import programs
from bai_wizard.core.event import Log, silent
from bai_wizard.core.operation import Operation
from bai_wizard.ui.progress import LogLine
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.runs import RunScreen
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.log import RunLog
from bai_wizard.ui.tui.widgets.steps import Steps
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fakes import FakeMachine
from tests.tui.test_run import apply, review

WARNING = "W: the kernel rounds this value up"
ERROR = "E: the key of the repository has expired"


class Talkative(FakeMachine):
    """Says a warning on the tuning page and an error on the docker page, and much else."""

    def apply(self, operation: Operation, log: Log = silent) -> None:
        super().apply(operation, log)
        names = " ".join(key.name for key in operation.keys())
        if "tuning" in names:
            log(WARNING, stream="stderr", level="warning")
        if "docker" in names:
            log(ERROR, stream="stderr", level="error")


@asynccontextmanager
async def log_of_a_run() -> AsyncIterator[tuple[AppDriver, RunLog]]:
    """The log of a run that is over, opened from its end, with the focus in it."""
    async with running_app(machine=Talkative(lines=12)) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await driver.press("home")
        while "View log" not in driver.text().splitlines()[driver.app.cursor_position.y]:
            await driver.press("down")
        await driver.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, RunScreen) and bool(driver.app.screen.query(RunLog)))
        log = driver.app.screen.query_one(RunLog)
        await driver.until(lambda: len(log.lines) > 60 and driver.app.focused is not None)
        while driver.app.focused is not log:
            await driver.press("tab")
        yield driver, log


def report_lines(driver: AppDriver, words: str) -> bool:
    """Whether a notice says so; a sitting draws none."""
    return any(words in notice.message for notice in driver.app._notifications)


async def test_search_moves_between_matches_and_reports_none() -> None:
    async with log_of_a_run() as (driver, log):
        await driver.press("slash")
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.type("LINE 7 of")
        await driver.press("enter")
        await driver.until(lambda: "line 7 of 12" in log.lines[int(log.scroll_y)])
        first = int(log.scroll_y)
        await driver.press("enter")
        await driver.until(lambda: int(log.scroll_y) > first and "line 7 of 12" in log.lines[int(log.scroll_y)])
        await driver.press("escape")
        await driver.until(lambda: driver.app.focused is log)
        second = int(log.scroll_y)
        await driver.press("n")
        await driver.until(lambda: int(log.scroll_y) > second and "line 7 of 12" in log.lines[int(log.scroll_y)])
        await driver.press("slash", *["backspace"] * 9)
        await driver.type("nowhere")
        await driver.press("enter")
        await driver.until(lambda: report_lines(driver, 'No match for "nowhere".'))


async def test_a_page_alone_and_then_all_again() -> None:
    async with log_of_a_run() as (driver, log):
        everything = list(log.lines)
        await driver.press("p", "p", "p")
        await driver.until("page Docker")
        assert any("has expired" in line for line in log.lines)
        assert not any("rounds this value" in line for line in log.lines)
        assert 0 < len(log.lines) < len(everything)
        while log.filter.page:
            await driver.press("p")
        await driver.until("all pages")
        assert list(log.lines) == everything


async def test_warnings_and_worse_then_errors_alone() -> None:
    async with log_of_a_run() as (driver, log):
        await driver.press("v")
        await driver.until("warnings")
        assert sorted(said(log)) == [ERROR, WARNING]
        await driver.press("v")
        await driver.until("errors")
        assert said(log) == [ERROR]


def said(log: RunLog) -> list[str]:
    """What the lines say, without when and where."""
    return [line.rpartition("  ")[2].lstrip("! ") for line in log.lines if line]


async def test_scrolling_pauses_the_log_until_it_is_followed_again() -> None:
    async with log_of_a_run() as (driver, log):
        await driver.press("home")
        await driver.until(lambda: not log.is_vertical_scroll_end)
        await driver.press("f")
        await driver.until(lambda: log.is_vertical_scroll_end)
        await driver.until("following")


async def test_the_log_is_followed_after_it_has_become_lower() -> None:
    async with log_of_a_run() as (driver, log):
        await driver.press("f")
        await driver.until(lambda: log.is_vertical_scroll_end)
        height = log.size.height
        await driver.pilot.resize_terminal(80, 20)
        await driver.until(lambda: log.size.height < height)
        await driver.pilot.pause()
        log.add([LogLine("00:00:00", "tuning", "tuning.x", "info", "one more line")])
        await driver.pilot.pause()
        assert log.is_vertical_scroll_end


async def test_visible_lines_are_copied_with_osc_52(monkeypatch: pytest.MonkeyPatch) -> None:
    async with log_of_a_run() as (driver, log):
        written: list[str] = []
        monkeypatch.setattr(driver.app._driver, "write", written.append)
        await driver.press("c")
        await driver.until(lambda: report_lines(driver, "Copied the visible lines"))
        (sent,) = [data for data in written if data.startswith("\x1b]52;c;")]
        text = base64.b64decode(sent.removeprefix("\x1b]52;c;").rstrip("\a\x1b\\")).decode()
        top = int(log.scroll_y)
        assert text.split("\n") == list(log.lines[top : top + log.size.height])
        assert text.strip()


async def test_the_whole_log_is_saved_whatever_the_filter_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with log_of_a_run() as (driver, log):
        everything = [line for line in log.lines if line]
        await driver.press("v", "v", "w")
        await driver.until("File name:")
        await driver.press("enter")
        await driver.until(lambda: any(tmp_path.glob("*.log")))
        (file,) = tmp_path.glob("*.log")
        await driver.until(lambda: "has expired" in file.read_text())
        assert [line for line in file.read_text().splitlines() if line] == everything


async def test_the_lines_of_one_step_and_the_next_error() -> None:
    async with log_of_a_run() as (driver, log):
        everything = list(log.lines)
        steps = driver.app.screen.query_one(Steps)
        steps.focus()
        await driver.press("home", "down", "enter")
        await driver.until("step account.file")
        assert log.lines
        assert all("account.file" in line for line in log.lines)
        await driver.press("enter")
        await driver.until(lambda: list(log.lines) == everything)
        await driver.press("e")
        await driver.until(lambda: ERROR in "\n".join(log.lines[int(log.scroll_y) :][: log.size.height]))


async def test_long_lines_are_wrapped_on_demand() -> None:
    async with log_of_a_run() as (driver, log):
        log.fill([LogLine("10:00:00", "docker", "docker.file", "info", "word " * 60 + "the end")])
        assert len(log.lines[0]) > log.size.width
        driver.app.watcher.lines.clear()
        driver.app.watcher.lines.append(
            LogLine("10:00:00", "docker", "docker.file", "info", "word " * 60 + "the end")
        )
        await driver.press("z")
        assert all(len(line) <= log.size.width for line in log.lines)
        await driver.until("the end")


async def test_matches_are_marked() -> None:
    async with log_of_a_run() as (driver, _):
        await driver.press("slash")
        await driver.type("expired")
        await driver.press("enter")
        await driver.until("has expired")

        def marked() -> list[str]:
            strips = driver.app.screen._compositor.render_strips()
            return [segment.text for strip in strips for segment in strip if segment.style and segment.style.reverse]

        await driver.until(lambda: "expired" in marked())


async def test_search_and_filters_read_the_file_beyond_the_kept_lines() -> None:
    async with log_of_a_run() as (driver, log):
        watcher = driver.app.watcher
        first = watcher.lines[0]
        # As after a long run: the screen keeps only the last lines.
        watcher.lines = deque(list(watcher.lines)[-5:], maxlen=5)
        log.fill(watcher.lines)
        assert not any(first.text in line for line in log.lines)
        await driver.press("slash")
        await driver.type(first.text[:30])
        await driver.press("enter")
        await driver.until(lambda: any(first.text in line for line in log.lines))
        await driver.until("paused")
        await driver.press("escape", "f")
        await driver.until(lambda: len([line for line in log.lines if line]) == 5)
        await driver.press("v")
        await driver.until(lambda: sorted(said(log)) == [ERROR, WARNING])


async def test_the_whole_log_opens_in_the_pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "copied"
    program = tmp_path / "pager"
    program.write_text(f'#!/bin/sh\ncp "$2" {copied}; stat -c %a "$2" > {tmp_path}/mode\n')
    program.chmod(0o755)
    monkeypatch.setenv("PAGER", "pager -R")
    monkeypatch.setattr(programs, "PROGRAM_DIRECTORIES", (str(tmp_path), *programs.PROGRAM_DIRECTORIES))

    @contextmanager
    def suspended() -> Iterator[None]:
        yield  # the pilot has no terminal that could be given away

    async with log_of_a_run() as (driver, log):
        monkeypatch.setattr(driver.app, "suspend", suspended)
        expected = [line for line in log.lines if line]
        await driver.press("|")
        await driver.until(copied.exists)
        await driver.until(lambda: [line for line in copied.read_text().splitlines() if line] == expected)
        assert (tmp_path / "mode").read_text().strip() == "600"


async def test_keys_of_the_log_work_wherever_the_focus_is() -> None:
    async with log_of_a_run() as (driver, log):
        driver.app.screen.query_one(Steps).focus()
        await driver.press("v")
        await driver.until(lambda: sorted(said(log)) == [ERROR, WARNING])
        driver.app.screen.query_one(Actions).focus()
        await driver.press("slash")
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        await driver.press("escape", "escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
