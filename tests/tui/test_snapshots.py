"""How screens look: at 80×24 and 120×40, without colours, in ASCII."""

from __future__ import annotations

import pytest
from textual.strip import Strip

from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.review import ReviewScreen
from bai_wizard.wizard.console import Console
from tests.tui.fakes import FakeMachine
from tests.tui.pictures import compare
from tests.tui.sitting import LARGE, SMALL, Sitting, sitting

SIZES = {"80x24": SMALL, "120x40": LARGE}


async def walk(seat: Sitting, name: str) -> None:
    """A page, the review, the end of a run: one picture each."""
    await seat.settled()
    await seat.to_page("docker")
    await seat.press("down", "down", "down", "down", "x")
    await seat.until("! must be an absolute path")
    await seat.settled()
    compare(seat, f"page-{name}")
    await seat.press("backspace", "escape")
    await seat.settled()
    await seat.press("A")
    await seat.until(lambda: isinstance(seat.app.screen, ReviewScreen))
    await seat.until("[ Apply ]")
    compare(seat, f"review-{name}")
    await seat.press("end", "down", "enter")
    await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
    await seat.until("Back to the pages")
    compare(seat, f"end-{name}")


@pytest.mark.parametrize("name", SIZES)
async def test_screens(name: str) -> None:
    async with sitting(size=SIZES[name], machine=FakeMachine()) as seat:
        await walk(seat, name)


async def test_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with sitting(console=Console("screen", theme="ansi-dark")) as seat:
        await walk(seat, "nocolor")
        styles = [segment.style for strip in strips(seat) for segment in strip if segment.style is not None]
        assert all(style.color is None or style.color.is_default for style in styles)
        assert all(style.bgcolor is None or style.bgcolor.is_default for style in styles)
        assert any(style.reverse for style in styles), "the selected row cannot be told from the others"


async def test_in_ascii() -> None:
    async with sitting(console=Console("screen", ascii=True, theme="ansi-dark")) as seat:
        await walk(seat, "ascii")
        assert all(segment.text.isascii() for strip in strips(seat) for segment in strip)


def strips(seat: Sitting) -> list[Strip]:
    """What is drawn, line by line."""
    return seat.app.screen._compositor.render_strips()
