"""The log panel: search, filter by page and level, follow and hold, copy by OSC 52, save; by keys at 80×24."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from bai_wizard.core.event import Log, silent
from bai_wizard.core.primitives import Primitive
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.run import RunScreen
from bai_wizard.tui.widgets.log import RunLog
from tests.tui.fakes import FakeMachine
from tests.tui.sitting import Sitting, sitting
from tests.tui.test_run import apply, review

WARNING = "W: the kernel rounds this value up"
ERROR = "E: the key of the repository has expired"


class Talkative(FakeMachine):
    """Says a warning on the tuning page and an error on the docker page, and much else."""

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        super().perform(primitive, log)
        names = " ".join(key.name for key in primitive.keys())
        if "tuning" in names:
            log(WARNING, stream="stderr", level="warning")
        if "docker" in names:
            log(ERROR, stream="stderr", level="error")


@asynccontextmanager
async def log_of_a_run() -> AsyncIterator[tuple[Sitting, RunLog]]:
    """The log of a run that is over, opened from its end, with the focus in it."""
    async with sitting(machine=Talkative(lines=12)) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await seat.press("home")
        while "Look at the log" not in seat.text().splitlines()[seat.app.cursor_position.y]:
            await seat.press("down")
        await seat.press("enter")
        await seat.until(lambda: isinstance(seat.app.screen, RunScreen) and bool(seat.app.screen.query(RunLog)))
        log = seat.app.screen.query_one(RunLog)
        await seat.until(lambda: len(log.lines) > 60 and seat.app.focused is not None)
        while seat.app.focused is not log:
            await seat.press("tab")
        yield seat, log


def told(seat: Sitting, words: str) -> bool:
    """Whether a notice says so; a sitting draws none."""
    return any(words in notice.message for notice in seat.app._notifications)


async def test_search_goes_from_hit_to_hit_and_says_when_there_is_none() -> None:
    async with log_of_a_run() as (seat, log):
        await seat.press("slash")
        await seat.until(lambda: isinstance(seat.app.focused, Input))
        await seat.type("LINE 7 of")
        await seat.press("enter")
        await seat.until(lambda: "line 7 of 12" in log.lines[int(log.scroll_y)])
        first = int(log.scroll_y)
        await seat.press("enter")
        await seat.until(lambda: int(log.scroll_y) > first and "line 7 of 12" in log.lines[int(log.scroll_y)])
        await seat.press("escape")
        await seat.until(lambda: seat.app.focused is log)
        second = int(log.scroll_y)
        await seat.press("n")
        await seat.until(lambda: int(log.scroll_y) > second and "line 7 of 12" in log.lines[int(log.scroll_y)])
        await seat.press("slash", *["backspace"] * 9)
        await seat.type("nowhere")
        await seat.press("enter")
        await seat.until(lambda: told(seat, "«nowhere» does not occur in the log."))


async def test_a_page_alone_and_then_all_again() -> None:
    async with log_of_a_run() as (seat, log):
        everything = list(log.lines)
        await seat.press("p", "p", "p")
        await seat.until("page docker")
        assert any("has expired" in line for line in log.lines)
        assert not any("rounds this value" in line for line in log.lines)
        assert 0 < len(log.lines) < len(everything)
        await seat.press(*["p"] * 7)
        await seat.until("all pages")
        assert list(log.lines) == everything


async def test_warnings_and_worse_then_errors_alone() -> None:
    async with log_of_a_run() as (seat, log):
        await seat.press("v")
        await seat.until("warnings")
        assert sorted(said(log)) == [ERROR, WARNING]
        await seat.press("v")
        await seat.until("errors")
        assert said(log) == [ERROR]


def said(log: RunLog) -> list[str]:
    """What the lines say, without when and where."""
    return [line.rpartition("  ")[2].lstrip("! ") for line in log.lines if line]


async def test_who_scrolls_away_is_held_there_until_he_follows_again() -> None:
    async with log_of_a_run() as (seat, log):
        await seat.press("home")
        await seat.until(lambda: not log.is_vertical_scroll_end)
        await seat.press("f")
        await seat.until(lambda: log.is_vertical_scroll_end)
        await seat.until("following")


async def test_copies_what_is_in_sight_as_osc_52(monkeypatch: pytest.MonkeyPatch) -> None:
    async with log_of_a_run() as (seat, log):
        written: list[str] = []
        monkeypatch.setattr(seat.app._driver, "write", written.append)
        await seat.press("c")
        await seat.until(lambda: told(seat, "Copied what is in sight"))
        (sent,) = [data for data in written if data.startswith("\x1b]52;c;")]
        text = base64.b64decode(sent.removeprefix("\x1b]52;c;").rstrip("\a\x1b\\")).decode()
        top = int(log.scroll_y)
        assert text.split("\n") == list(log.lines[top : top + log.size.height])
        assert text.strip()


async def test_the_whole_log_is_saved_whatever_the_filter_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with log_of_a_run() as (seat, log):
        everything = [line for line in log.lines if line]
        await seat.press("v", "v", "w")
        await seat.until("As which file?")
        await seat.press("enter")
        await seat.until(lambda: any(tmp_path.glob("*.log")))
        (file,) = tmp_path.glob("*.log")
        await seat.until(lambda: "has expired" in file.read_text())
        assert [line for line in file.read_text().splitlines() if line] == everything
