"""While the node is probed, each fact appears as soon as it is known, the others with their remaining time."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from pathlib import Path
from typing import Any

from bai_wizard.core.machine import HardwarePart
from bai_wizard.node.demo import machine_from
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.tui.widgets.page import PageView
from tests.tui.app_driver import LARGE, running_app
from tests.tui.fakes import FakePages
from tests.waiting import PATIENCE


class Slow(SimulatedMachine):
    """Does not tell of its disks until it is let."""

    let = threading.Event()

    def hardware(self, part: HardwarePart) -> Any:
        if part == "disks":
            self.let.wait(PATIENCE)
        return super().hardware(part)


async def test_a_fact_that_hangs_costs_itself_only(tmp_path: Path) -> None:
    machine = Slow({}, machine_from({"kernel": {"/proc/sys/kernel/osrelease": "6.8.0-60"}}).environment)
    async with running_app(size=LARGE, loader=load, session=demo_session("bare", machine, tmp_path)) as driver:
        await driver.to_page("node")
        await driver.until("6.8.0-60")
        assert "of at most 6 s" in driver.text()
        # A busy machine may show the seconds late.
        await driver.until(lambda: re.search(r"checking, [1-6] of at most 6 s", driver.text()) is not None)
        machine.let.set()
        await driver.until(lambda: "at most" not in driver.text())


async def test_a_page_shows_how_long_its_check_takes() -> None:
    pages = FakePages(delay=600.0)
    async with running_app(loader=pages.load) as driver:
        await driver.to_page("docker")
        await driver.until(lambda: re.search(r"checking, [1-9]\d* s", driver.text()) is not None)
        pages.released.set()
        await driver.until(lambda: driver.app.plan_model.looks_for("docker") == 0.0)
        pages.released.clear()
        await driver.until("Docker   1 change")
        driver.app.plan_model.recheck("docker")
        await driver.until(lambda: re.search(r"re-checking, [1-9]\d* s", driver.text()) is not None)
        pages.released.set()
        await driver.until(lambda: "re-checking" not in driver.text())


async def test_pages_that_were_left_are_forgotten() -> None:
    async with running_app() as driver:
        await driver.settled()
        left = []
        for name in ("docker", "tuning", "account", "storage", "images", "python") * 2:
            await driver.to_page(name)
            # `query_one` would keep what it finds.
            left.append(weakref.ref(driver.app.screen.query(PageView).first()))
        gc.collect()
        # Textual's own caches may still know the last ones.
        assert sum(1 for page in left if page() is not None) < len(left) / 2
