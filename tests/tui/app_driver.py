"""Drives the full-screen application on a fake node with keys only."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from bai_wizard.session import Session
from bai_wizard.ui.console import Console
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.plans import Loader
from bai_wizard.ui.tui.app import WizardApp
from tests.tui.fakes import FakeMachine, FakePages, fake_session

SMALL = (80, 24)
LARGE = (120, 40)
# Seconds to wait for an expected event; only reached if it never happens.
PATIENCE = 300.0


class AppDriver:
    """Input and output of a test."""

    def __init__(self, app: WizardApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            await self.pilot.press(key)
            # Single characters are delayed briefly to tell typing from pasting.
            while self.app.waits_for_characters:
                await self.pilot.pause(0.005)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text."""
        await self.press(*("space" if character == " " else character for character in text))

    def text(self) -> str:
        """Return the text on the screen without trailing blanks."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)

    async def until(self, seen: str | Callable[[], bool]) -> None:
        """Wait for a text on the screen, or for a condition."""
        deadline = time.monotonic() + PATIENCE
        while not (seen in self.text() if isinstance(seen, str) else seen()):
            if time.monotonic() > deadline:
                raise AssertionError(f"never came: {seen}\n{self.text()}")
            await self.pilot.pause(0.02)

    async def opened(self) -> None:
        """Wait until keys are processed."""
        await self.until(lambda: self.app.is_open and not self.app.holds_keys)

    async def settled(self) -> None:
        """Wait until every page has been probed and the plan is made."""
        plan_model = self.app.plan_model
        await self.until(lambda: plan_model.plan is not None and not plan_model.is_busy)
        await self.pilot.pause()

    async def to_page(self, name: str) -> None:
        """Move from the sidebar to the first field of a page."""
        from bai_wizard.ui.tui.widgets.sidebar import Sidebar

        rail = self.app.screen.query_one(Sidebar)
        await self.press("escape", "home")
        target = [entry.key for entry in rail.entries].index(name)
        await self.press(*["down"] * target, "right")
        await self.until(lambda: getattr(self.app.screen, "page", "") == name)


@asynccontextmanager
async def running_app(
    *,
    size: tuple[int, int] = SMALL,
    session: Session | None = None,
    draft: Draft | None = None,
    loader: Loader | None = None,
    machine: FakeMachine | None = None,
    console: Console | None = None,
) -> AsyncIterator[AppDriver]:
    """Run the application with fake pages and a fake node, unless others are given."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as location:
        app = WizardApp(
            lambda: (session or fake_session(Path(location), machine), draft or good_draft(demo=loader is not None)),
            loader=loader or FakePages().load,
            console=console or Console("screen", theme="wizard-dark"),
        )
        async with app.run_test(size=size) as pilot:
            driver = AppDriver(app, pilot)
            await driver.opened()
            yield driver
            app.watcher.leave()
        run = app.watcher.run
        if session is None and run is not None:
            # The run writes into the directory that is about to be removed.
            app.session.stop(run)
            while app.session.is_alive(run):
                await asyncio.sleep(0.01)


def good_draft(*, demo: bool = False) -> Draft:
    """Return answers that are complete on every page. `demo`: pages use no network, no child processes."""
    return Draft("gpu01", {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}}, demo=demo)
