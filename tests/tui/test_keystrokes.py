"""How many keys it takes to set up an ordinary node, from the first frame to the start of the run."""

from __future__ import annotations

from pathlib import Path

from bai_wizard.exit_codes import ExitCode
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.review import ReviewScreen
from bai_wizard.ui.tui.widgets.actions import Actions
from tests.tui.app_driver import AppDriver, running_app

# Keys other than those of the typed values.
MOST = 35


class Walker:
    """Presses keys as a user does, who waits for the effect of each, and counts those that are not text."""

    def __init__(self, driver: AppDriver) -> None:
        self.driver = driver
        self.keys: list[str] = []

    async def press(self, *keys: str, until: str = "") -> None:
        """Press keys; the last one has shown its effect once the screen contains `until`."""
        self.keys += keys
        await self.driver.press(*keys)
        await self.driver.until(until)

    async def type(self, text: str) -> None:
        """Type a value."""
        await self.driver.type(text)
        await self.driver.until(lambda: text in self.driver.text() or "*" * len(text) in self.driver.text())


async def fill_in(walker: Walker) -> None:
    """Enter what the node needs, and look at each page that is ready by itself."""
    # The first required field, the release; then the next problem, the password that sudo asks for.
    await walker.press("n", until="e.g. 26.4")
    await walker.type("26.4")
    await walker.press("escape", "n", until="Account   needs input")
    await walker.press("down", "enter", until="( ) prompt")
    await walker.press("down", "enter", until="Input is hidden")
    for until in ("Retype to confirm.", "Account   4 changes"):
        await walker.driver.type("secret-12")
        await walker.press("enter", until=until)
    for key, page in (("2", "Docker"), ("3", "Tuning"), ("4", "Python")):
        await walker.press(key, until=f" {page}   ")
        await walker.driver.settled()
        assert "required" not in walker.driver.text()
    await walker.press("5", until="+ paste lines")
    await walker.press("enter", until="[ Save ]")
    await walker.type("10.20.30.10")
    await walker.press("enter")
    await walker.type("bai-m1")
    await walker.press("tab", "tab", "tab", "enter", until="Aliases   1 change")
    await walker.press("6", until="Storage   not set up")
    await walker.press("enter", until="[ Save ]")
    await walker.press("tab")
    await walker.type("local")
    await walker.press(*["tab"] * 6, "enter", until="Storage   2 changes")
    await walker.press("8", until=" Images   ")


async def test_an_ordinary_node_takes_few_keys(tmp_path: Path) -> None:
    session = demo_session("bare", demo_machine("bare", delay=0), tmp_path)
    async with running_app(session=session, loader=load, draft=Draft("gpu01", {}, demo=True)) as driver:
        await driver.settled()
        walker = Walker(driver)
        await fill_in(walker)
        await walker.press("A", until="[ Apply ]")
        assert isinstance(driver.app.screen, ReviewScreen)
        assert driver.app.screen.query_one(Actions).is_enabled("apply")
        plan = driver.app.plan_model.plan
        assert plan is not None
        assert {item.step.page for item in plan.pending()} >= {"account", "docker", "tuning", "python", "images"}
        await walker.press("tab", "enter")
        await driver.until("Done. All")
        result = driver.app.watcher.progress.result if driver.app.watcher.progress else None
        assert result is not None
        assert result.code() == ExitCode.OK
        print(f"{len(walker.keys)} keys besides the typed values: {' '.join(walker.keys)}")
        assert len(walker.keys) <= MOST
