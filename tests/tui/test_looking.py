"""While the node is looked at: each fact as soon as it is there, the others with what is left of their time."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from bai_wizard.core.machine import Completed
from bai_wizard.machine.demo import machine_from
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages import load
from bai_wizard.tui.pages.page import PageView
from bai_wizard.wizard.desk import demo_desk
from tests.tui.fakes import FakePages
from tests.tui.sitting import LARGE, sitting


class Slow(SimulatedMachine):
    """Does not tell of its disks until it is let."""

    let = threading.Event()

    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        if argv[0] == "df":
            self.let.wait(20)
        return super().look(argv, deadline=deadline)


async def test_a_fact_that_hangs_costs_itself_only(tmp_path: Path) -> None:
    machine = Slow({}, machine_from({"kernel": {"/proc/sys/kernel/osrelease": "6.8.0-60"}}).surroundings)
    async with sitting(size=LARGE, loader=load, desk=demo_desk("bare", machine, tmp_path)) as seat:
        await seat.until("6.8.0-60")
        assert "of at most 6 s" in seat.text()
        await seat.until("looking, 1 of at most 6 s")
        machine.let.set()
        await seat.until(lambda: "at most" not in seat.text())


async def test_a_page_that_is_looked_at_says_for_how_long() -> None:
    async with sitting(loader=FakePages(delay=3.0).load) as seat:
        await seat.to_page("docker")
        await seat.until("looking, for 1 s")
        await seat.until("file  False")
        await seat.press("escape", "right", "end", "tab", "tab")
        seat.app.surveyor.recheck("docker")
        await seat.until("looking again, for 1 s")
        await seat.until(lambda: "looking again" not in seat.text())


async def test_pages_that_were_left_are_forgotten() -> None:
    async with sitting() as seat:
        await seat.settled()
        left = []
        for name in ("docker", "tuning", "account", "storage", "images", "python") * 2:
            await seat.to_page(name)
            # `query_one` would keep what it finds.
            left.append(weakref.ref(seat.app.screen.query(PageView).first()))
        gc.collect()
        # Textual's own caches may still know the last ones.
        assert sum(1 for page in left if page() is not None) < len(left) / 2
