"""Every screen besides the pages is walked at 80×24 with arrows, Tab, Enter, Space, Esc: nothing is out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.screen import Screen

from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.walk import Walk
from bai_wizard.wizard.desk import demo_desk
from bai_wizard.wizard.draft import Draft
from tests.tui.sitting import Sitting, sitting
from tests.tui.test_keyboard import owner
from tests.tui.test_run import Failing, apply, review

# The screens that a sitting leads to, by the keys that open them from the pages.
FROM_PAGES: dict[str, tuple[str, ...]] = {
    "HelpScreen": ("?",),
    "LineQuestion": ("s",),
    "DiffScreen": ("d",),
    "ReviewScreen": ("A",),
    "RunsScreen": ("end", "up", "up", "up", "enter"),
}


def here(seat: Sitting) -> str:
    """The name of the screen that is open."""
    return type(seat.app.screen).__name__


async def opens(seat: Sitting, name: str, keys: Sequence[str]) -> None:
    """Presses keys, and waits for a screen and for its first focus."""
    await seat.press(*keys)
    await seat.until(lambda: here(seat) == name and seat.app.focused is not None)


async def walk(seat: Sitting) -> None:
    """Tab visits all that can be focused, and each is in sight; arrows go through all lines of a list."""
    screen: Screen[object] = seat.app.screen
    wanted = {owner(widget) for widget in screen.focus_chain if widget.region.area}
    visited = []
    for _ in wanted:
        focused = seat.app.focused
        assert focused is not None
        visited.append(owner(focused))
        assert focused.region.overlaps(screen.region), f"{focused} is out of sight"
        if isinstance(focused, Actions):
            labels = len(focused._shown())
            await seat.press(*["right"] * labels)
            assert focused.at == labels - 1
        elif isinstance(focused, Walk):
            await seat.press("home", "end")
            assert focused.at == max(0, len(focused.lines()) - 1)
        await seat.press("tab")
    assert wanted <= set(visited)


@pytest.mark.parametrize("name", FROM_PAGES)
async def test_what_the_pages_open(name: str) -> None:
    async with sitting() as seat:
        await seat.settled()
        await opens(seat, name, FROM_PAGES[name])
        await seat.pilot.pause()
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_a_row_and_pasted_lines() -> None:
    async with sitting() as seat:
        await seat.settled()
        await seat.to_page("aliases")
        await seat.press("down", "down", "down", "down")
        await opens(seat, "PasteScreen", ("enter",))
        await walk(seat)
        await seat.type("10.0.0.1 m1")
        assert here(seat) == "PasteScreen"
        await seat.press("escape")
        await seat.press("up")
        await opens(seat, "RowScreen", ("enter",))
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_a_run_its_end_its_undo_and_the_way_back() -> None:
    async with sitting() as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await walk(seat)
        await seat.press("home")
        while "Look at the log" not in seat.text().splitlines()[seat.app.cursor_position.y]:
            await seat.press("down")
        await opens(seat, "RunScreen", ("enter",))
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
        await opens(seat, "RunsScreen", FROM_PAGES["RunsScreen"])
        await seat.until("done")
        await opens(seat, "Question", ("enter",))
        await walk(seat)
        await opens(seat, "UndoScreen", ("end", "enter"))
        await seat.until("would be taken back")
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_the_end_of_a_failure_and_trying_again() -> None:
    async with sitting(machine=Failing()) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await walk(seat)
        await opens(seat, "AgainScreen", ("home", "enter"))
        await seat.until("[ Go on ]")
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_troubleshooting_a_finding_its_remedy_and_the_search(tmp_path: Path) -> None:
    desk = demo_desk("broken", demo_machine("broken", delay=0), tmp_path)
    async with sitting(desk=desk, loader=load, draft=Draft("gpu03", {}, demo=True)) as seat:
        await seat.settled()
        await opens(seat, "DoctorScreen", ("end", "up", "up", "up", "up", "enter"))
        await seat.until("problems,")
        await walk(seat)
        await seat.press("home")
        await opens(seat, "FindingScreen", ("enter",))
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: here(seat) == "DoctorScreen")
        await seat.press("tab", *["left"] * 5, "right", "right", "enter")
        await seat.until(lambda: here(seat) == "PasteScreen")
        await seat.type("x509 certificate signed by unknown authority")
        await opens(seat, "SearchScreen", ("tab", "enter"))
        await seat.until("Cause")
        await walk(seat)
        await seat.press("escape")
        await seat.until(lambda: here(seat) == "DoctorScreen")
        await seat.press("escape")
        await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_who_comes_to_the_decision_has_seen_what_follows_from_it(tmp_path: Path) -> None:
    answers = {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}}
    desk = demo_desk("bare", demo_machine("bare", delay=0), tmp_path)
    async with sitting(desk=desk, loader=load, draft=Draft("gpu01", answers, demo=True)) as seat:
        await review(seat)
        # More steps than lines: what follows stands below all of them.
        assert "Not taken back by undo" not in seat.text()
        await seat.press("tab")
        assert isinstance(seat.app.focused, Actions)
        assert "Not taken back by undo: packages stay installed" in seat.text()
        # The same by arrows alone, and what stands above the first line comes back.
        await seat.press("shift+tab", "home")
        await seat.until("Steps on gpu01, page by page")
        await seat.press("end")
        await seat.until("Not taken back by undo: packages stay installed")
