"""Snapshots of screens: at 80×24 and 120×40, without colors, in ASCII."""

from __future__ import annotations

import pytest
from textual.strip import Strip

from bai_wizard.ui.console import Console
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.review import ReviewScreen
from tests.tui.app_driver import LARGE, SMALL, AppDriver, running_app
from tests.tui.fakes import FakeMachine
from tests.tui.snapshot_images import compare

SIZES = {"80x24": SMALL, "120x40": LARGE}


async def walk(driver: AppDriver, name: str) -> None:
    """A page, the review, the end of a run: one picture each."""
    await driver.settled()
    await driver.to_page("docker")
    await driver.press("down", "down", "x")
    await driver.until("! must be an absolute path")
    await driver.settled()
    compare(driver, f"page-{name}")
    await driver.press("backspace", "escape")
    await driver.settled()
    await driver.press("A")
    await driver.until(lambda: isinstance(driver.app.screen, ReviewScreen))
    await driver.until("[ Apply ]")
    compare(driver, f"review-{name}")
    await driver.press("end", "down", "enter")
    await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
    await driver.until("Back to the pages")
    await driver.settled()
    await driver.until("All pages are up to date.")
    compare(driver, f"end-{name}")


@pytest.mark.parametrize("name", SIZES)
async def test_screens(name: str) -> None:
    async with running_app(size=SIZES[name], machine=FakeMachine()) as driver:
        await walk(driver, name)


async def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running_app(console=Console("screen", theme="ansi-dark")) as driver:
        await walk(driver, "nocolor")
        styles = [segment.style for strip in strips(driver) for segment in strip if segment.style is not None]
        assert all(style.color is None or style.color.is_default for style in styles)
        assert all(style.bgcolor is None or style.bgcolor.is_default for style in styles)
        assert any(style.reverse for style in styles), "the selected row cannot be told from the others"


async def test_in_ascii() -> None:
    async with running_app(console=Console("screen", ascii=True, theme="ansi-dark")) as driver:
        await walk(driver, "ascii")
        assert all(segment.text.isascii() for strip in strips(driver) for segment in strip)


def strips(driver: AppDriver) -> list[Strip]:
    """What is drawn, line by line."""
    return driver.app.screen._compositor.render_strips()
