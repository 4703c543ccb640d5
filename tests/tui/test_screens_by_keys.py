"""Every screen besides the pages is operable at 80×24 with arrows, Tab, Enter, Space and Esc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.screen import Screen

from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.list_box import ListBox
from tests.tui.app_driver import AppDriver, running_app
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


def here(driver: AppDriver) -> str:
    """The name of the screen that is open."""
    return type(driver.app.screen).__name__


async def opens(driver: AppDriver, name: str, keys: Sequence[str]) -> None:
    """Presses keys, and waits for a screen and for its first focus."""
    await driver.press(*keys)
    await driver.until(lambda: here(driver) == name and driver.app.focused is not None)


async def walk(driver: AppDriver) -> None:
    """Tab visits all that can be focused, and each is in sight; arrows go through all lines of a list."""
    screen: Screen[object] = driver.app.screen
    wanted = {owner(widget) for widget in screen.focus_chain if widget.region.area}
    visited = []
    for _ in wanted:
        focused = driver.app.focused
        assert focused is not None
        visited.append(owner(focused))
        assert focused.region.overlaps(screen.region), f"{focused} is out of sight"
        if isinstance(focused, Actions):
            labels = len(focused._shown())
            await driver.press(*["right"] * labels)
            assert focused.at == labels - 1
        elif isinstance(focused, ListBox):
            await driver.press("home", "end")
            assert focused.cursor == max(0, len(focused.lines()) - 1)
        await driver.press("tab")
    assert wanted <= set(visited)


@pytest.mark.parametrize("name", FROM_PAGES)
async def test_dialogs_that_the_pages_open(name: str) -> None:
    async with running_app() as driver:
        await driver.settled()
        await opens(driver, name, FROM_PAGES[name])
        await driver.pilot.pause()
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_a_row_and_pasted_lines() -> None:
    async with running_app() as driver:
        await driver.settled()
        await driver.to_page("aliases")
        await driver.press("down", "down")
        await opens(driver, "PasteScreen", ("enter",))
        await walk(driver)
        await driver.type("10.0.0.1 m1")
        assert here(driver) == "PasteScreen"
        await opens(driver, "Question", ("escape",))
        await driver.press("down", "enter")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await driver.press("up")
        await opens(driver, "EditRowScreen", ("enter",))
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_a_run_its_end_its_undo_and_the_way_back() -> None:
    async with running_app() as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await walk(driver)
        await driver.press("home")
        while "View log" not in driver.text().splitlines()[driver.app.cursor_position.y]:
            await driver.press("down")
        await opens(driver, "RunScreen", ("enter",))
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await opens(driver, "RunsScreen", FROM_PAGES["RunsScreen"])
        await driver.until("done")
        await opens(driver, "Question", ("enter",))
        await walk(driver)
        await opens(driver, "UndoScreen", ("end", "enter"))
        await driver.until("will be undone")
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_the_end_of_a_failure_and_trying_again() -> None:
    async with running_app(machine=Failing()) as driver:
        await review(driver)
        await apply(driver)
        await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
        await walk(driver)
        await opens(driver, "ResumeScreen", ("home", "enter"))
        await driver.until("[ Resume ]")
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_troubleshooting_a_finding_its_remedy_and_the_search(tmp_path: Path) -> None:
    session = demo_session("broken", demo_machine("broken", delay=0), tmp_path)
    async with running_app(session=session, loader=load, draft=Draft("gpu03", {}, demo=True)) as driver:
        await driver.settled()
        await opens(driver, "DoctorScreen", ("end", "up", "up", "up", "up", "enter"))
        await driver.until("problems,")
        await walk(driver)
        await driver.press("home")
        await opens(driver, "FindingScreen", ("enter",))
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: here(driver) == "DoctorScreen")
        await driver.press("tab", *["left"] * 5, "right", "enter")
        await driver.until(lambda: here(driver) == "PasteScreen")
        await driver.type("x509 certificate signed by unknown authority")
        await opens(driver, "SearchScreen", ("tab", "enter"))
        await driver.until("Cause")
        await walk(driver)
        await driver.press("escape")
        await driver.until(lambda: here(driver) == "DoctorScreen")
        await driver.press("escape")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
