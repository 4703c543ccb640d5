"""The screen stays alive: whatever the probes do, and however fast a log arrives.

Measured is the processor time that the screen's own thread spends without a break: on a busy machine the clock on
the wall says nothing about the wizard.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bai_wizard.core.errors import CannotTell
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed
from bai_wizard.core.primitives import Primitive
from bai_wizard.machine.demo import demo_machine
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages import ORDER, load
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.run import RunScreen
from bai_wizard.tui.watcher import KEPT
from bai_wizard.tui.widgets.log import RunLog
from bai_wizard.wizard.desk import demo_desk
from tests.tui.fakes import FakeMachine, FakePages
from tests.tui.sitting import good_draft, sitting
from tests.tui.test_run import apply, review

# Seconds that the screen may be busy without looking at the keyboard.
LIMIT = 0.1
TYPICAL = 0.05


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """Measures for how long the loop was busy between two looks of this task at it."""
    busy: list[float] = []

    async def look() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            busy.append(now - before)
            before = now
            # Leaves the processor to the others, and does not count as busy.
            await asyncio.sleep(0.002)
            before = min(time.thread_time(), now + 0.0005)

    task = asyncio.create_task(look())
    try:
        yield busy
    finally:
        task.cancel()


async def test_probes_that_take_all_their_time_block_nothing() -> None:
    async with watched() as busy, sitting(loader=FakePages(delay=30.0).load) as seat:
        busy.clear()
        await seat.until("looking…")
        for name in ("docker", "tuning", "account", "storage"):
            await seat.to_page(name)
            await seat.press("down", "down", "escape")
        assert seat.app.surveyor.is_busy
        assert "looking…" in seat.text()
        assert max(busy) < LIMIT, sorted(busy)[-5:]


class Silent(SimulatedMachine):
    """Every question takes all the time that it may, and then has no answer."""

    def look(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        self._wait(deadline)
        raise CannotTell(f"{argv[0]}: no answer within {deadline:g} s")

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        self._wait(deadline)
        raise CannotTell(f"{path}: no answer within {deadline:g} s")

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        self._wait(deadline)
        raise CannotTell(f"the engine: no answer within {deadline:g} s")

    def _wait(self, deadline: float) -> None:
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("the screen itself asks the node")
        time.sleep(deadline)


async def test_real_pages_on_a_node_that_answers_nothing(tmp_path: Path) -> None:
    machine = demo_machine("half", delay=0)
    desk = demo_desk("half", Silent(machine.snapshot(), machine.surroundings), tmp_path)
    async with watched() as busy, sitting(desk=desk, loader=load, draft=good_draft()) as seat:
        # From the moment when keys are heard: what the pages import comes while they are walked through.
        busy.clear()
        for name in ORDER:
            await seat.to_page(name)
            await seat.press("down", "down", "escape")
        await seat.settled()
        assert max(busy) < LIMIT, sorted(busy)[-5:]
        assert statistics.quantiles(busy, n=20)[-1] < TYPICAL


class Chatty(FakeMachine):
    """Says a hundred thousand lines as fast as it can."""

    def perform(self, primitive: Primitive, log: Log = silent) -> None:
        if any("docker" in key.name for key in primitive.keys()):
            for number in range(100_000):
                log(
                    f"Get:{number} a line as apt prints it, of a length that is usual for such lines", stream="stdout"
                )
        super().perform(primitive, log)


async def test_a_hundred_thousand_lines() -> None:
    async with watched() as busy, sitting(machine=Chatty(), loader=FakePages().load) as seat:
        await review(seat)
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, RunScreen))
        log = seat.app.screen.query_one(RunLog)
        await seat.until(lambda: log.line_count > 100)
        busy.clear()
        while seat.app.watcher.is_running:
            await seat.press("left", "right")
            assert len(log.lines) <= KEPT
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        assert max(busy) < 2 * LIMIT, sorted(busy)[-5:]
        assert statistics.quantiles(busy, n=20)[-1] < TYPICAL
        assert len(seat.app.watcher.lines) <= KEPT
        assert seat.app.watcher.run is not None
        assert seat.app.watcher.run.events.read_bytes().count(b"\n") > 100_000


async def test_who_reads_the_log_is_not_carried_away() -> None:
    async with sitting(machine=FakeMachine(delay=0.5, lines=40)) as seat:
        await review(seat)
        await apply(seat)
        log = seat.app.screen.query_one(RunLog)
        await seat.until(lambda: log.line_count > log.size.height + 5)
        log.scroll_to(y=2, animate=False, immediate=True)
        await seat.pilot.pause()
        shown = log.lines[2]
        await seat.until(lambda: log.line_count > 60)
        assert log.lines[int(log.scroll_y)] == shown
