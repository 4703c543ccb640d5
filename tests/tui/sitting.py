"""One sitting at the full screen: an application over a fake node, driven by keys only."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from bai_wizard.tui.app import WizardApp
from bai_wizard.wizard.console import Console
from bai_wizard.wizard.desk import Desk
from bai_wizard.wizard.draft import Draft
from bai_wizard.wizard.survey import Loader
from tests.tui.fakes import FakeMachine, FakePages, fake_desk

SMALL = (80, 24)
LARGE = (120, 40)
# How long a test waits for something that has to come, in seconds; generous, for machines that are busy.
PATIENCE = 20.0


class Sitting:
    """What a test sees and does."""

    def __init__(self, app: WizardApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Presses keys one after the other."""
        for key in keys:
            await self.pilot.press(key)

    async def type(self, text: str) -> None:
        """Types a text."""
        await self.press(*("space" if letter == " " else letter for letter in text))

    def text(self) -> str:
        """What stands on the screen, blanks at the ends of lines taken off."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)

    async def until(self, seen: str | Callable[[], bool]) -> None:
        """Waits for a text on the screen, or for a condition."""
        deadline = time.monotonic() + PATIENCE
        while not (seen in self.text() if isinstance(seen, str) else seen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text()}")
            await self.pilot.pause(0.02)

    async def opened(self) -> None:
        """Waits until keys are heard."""
        await self.until(lambda: self.app.is_open and not self.app.holds_keys)

    async def settled(self) -> None:
        """Waits until every page has been looked at and the plan is made."""
        surveyor = self.app.surveyor
        await self.until(lambda: surveyor.plan is not None and not surveyor.is_busy)
        await self.pilot.pause()

    async def to_page(self, name: str) -> None:
        """Goes from the rail to a page's first field."""
        from bai_wizard.tui.widgets.rail import Rail

        rail = self.app.screen.query_one(Rail)
        await self.press("escape", "home")
        target = [entry.key for entry in rail.entries].index(name)
        await self.press(*["down"] * target, "right")
        await self.until(lambda: getattr(self.app.screen, "page", "") == name)


@asynccontextmanager
async def sitting(
    *,
    size: tuple[int, int] = SMALL,
    desk: Desk | None = None,
    draft: Draft | None = None,
    loader: Loader | None = None,
    machine: FakeMachine | None = None,
    console: Console | None = None,
) -> AsyncIterator[Sitting]:
    """A sitting over fake pages and a fake node, unless others are given."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        app = WizardApp(
            lambda: (desk or fake_desk(Path(place), machine), draft or good_draft()),
            loader=loader or FakePages().load,
            console=console or Console("screen", theme="wizard-dark"),
        )
        async with app.run_test(size=size) as pilot:
            seat = Sitting(app, pilot)
            await seat.opened()
            yield seat
            app.watcher.leave()
        run = app.watcher.run
        if desk is None and run is not None:
            # The run writes into the directory that is about to be removed.
            app.desk.stop(run)
            while app.desk.is_alive(run):
                await asyncio.sleep(0.01)


def good_draft() -> Draft:
    """Answers that are complete on every page."""
    return Draft("gpu01", {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}})
