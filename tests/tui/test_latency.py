"""The screen stays responsive, whatever the probes do and however fast a log grows.

Measured are the processor time that the screen's own thread spends without a break, and the time for which it waits
for something: on a busy machine the clock on the wall alone says nothing about the wizard. Processor time is counted
in that of an idle core of the reference machine: two busy threads of one core make each other slower.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.errors import StateUnknown
from bai_wizard.core.event import Log, silent
from bai_wizard.core.machine import Completed
from bai_wizard.core.operation import Operation
from bai_wizard.node.demo import demo_machine
from bai_wizard.node.simulated import SimulatedMachine
from bai_wizard.pages import ORDER, load
from bai_wizard.session import demo_session
from bai_wizard.ui.progress import MAX_LINES
from bai_wizard.ui.tui.screens.result import ResultScreen
from bai_wizard.ui.tui.screens.runs import RunScreen
from bai_wizard.ui.tui.widgets.log import RunLog
from tests.tui.app_driver import good_draft, running_app
from tests.tui.fakes import FakeMachine, FakePages
from tests.tui.test_run import apply, review

# Seconds of processor time that the screen may need without looking at the keyboard, once and usually.
LIMIT = 0.1
TYPICAL = 0.05
# Seconds that its thread may wait for something other than keys and a free processor: no probe answers so soon.
WAITING = 1.0
# A machine that is busy takes more processor time for the same work, but not in the same place each time.
ATTEMPTS = 3
PAUSE = 0.002
# What `_work` takes on an idle core of the reference machine (AMD EPYC of 2023, CPython 3.11), in seconds; measured
# as the fastest hundredth of 3,000 calls.
REFERENCE = 0.0004


@dataclass
class Watched:
    """What the screen's thread did between two looks at it, in seconds: was busy, or waited without hearing keys."""

    busy: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def clear(self) -> None:
        for times in (self.busy, self.waited, self.work):
            times.clear()

    @property
    def slowness(self) -> float:
        """How much more processor time the same work took meanwhile than on the reference machine; at least 1."""
        return max(1.0, statistics.median(self.work) / REFERENCE)

    def is_alive(self, limit: float) -> bool:
        """Whether the screen stayed alive, by the processor time it needed."""
        longest, usual = max(self.busy), statistics.quantiles(self.busy, n=20)[-1]
        return longest < limit * self.slowness and usual < TYPICAL * self.slowness


def _work() -> float:
    """The processor time of a piece of work that allocates and hashes, as the screen's does."""
    begun = time.thread_time()
    assert len({str(number): [number] for number in range(2000)}) == 2000
    return time.thread_time() - begun


def _in_queue() -> float:
    """Seconds that this thread was ready to run but had no processor: other work of the machine, not ours."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """Watches the loop from a task of its own."""
    watch = Watched()

    async def look() -> None:
        before, looks = time.thread_time(), 0
        while True:
            begun, used, queued = time.monotonic(), time.thread_time(), _in_queue()
            await asyncio.sleep(0)
            now = time.thread_time()
            watch.busy.append(now - before)
            if looks % 20 == 0 or not watch.work:
                watch.work.append(_work())
            looks += 1
            # Leaves the processor to the others, and does not count as busy.
            await asyncio.sleep(PAUSE)
            before = min(time.thread_time(), now + 0.0005)
            watch.waited.append(
                time.monotonic() - begun - PAUSE - (time.thread_time() - used) - (_in_queue() - queued)
            )

    # What earlier tests left in memory is not the wizard's to collect.
    gc.collect()
    gc.freeze()
    task = asyncio.create_task(look())
    try:
        yield watch
    finally:
        task.cancel()
        gc.unfreeze()


async def stays_alive(scene: Callable[[], Awaitable[Watched]], limit: float = LIMIT) -> None:
    """Plays a scene, and again where it was too slow: what the screen itself causes is slow each time."""
    for _ in range(ATTEMPTS):
        watch = await scene()
        assert max(watch.waited) < WAITING, sorted(watch.waited)[-5:]
        if watch.is_alive(limit):
            return
    longest = sorted(watch.busy)[-5:]
    raise AssertionError(f"the screen was busy: {longest}, on a machine {watch.slowness:.2f} times as slow")


async def test_probes_that_take_all_their_time_block_nothing() -> None:
    async def scene() -> Watched:
        pages = FakePages(delay=600.0)
        try:
            async with watched() as watch, running_app(loader=pages.load) as driver:
                watch.clear()
                await driver.until("checking…")
                for name in ("docker", "tuning", "account", "storage"):
                    await driver.to_page(name)
                    await driver.press("down", "down", "escape")
                assert driver.app.plan_model.is_busy
                assert "checking…" in driver.text()
                return watch
        finally:
            pages.released.set()

    await stays_alive(scene)


@pytest.mark.parametrize("work", ["computes", "waits"])
async def test_a_handler_that_takes_long_is_noticed(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(*_: object) -> None:
        end = time.thread_time() + 10 * LIMIT
        while work == "computes" and time.thread_time() < end:
            pass
        if work == "waits":
            time.sleep(1.5 * WAITING)

    async def scene() -> Watched:
        async with watched() as watch, running_app() as driver:
            await driver.settled()
            watch.clear()
            driver.app.call_later(handler)
            await driver.press("down", "up")
            return watch

    with pytest.raises(AssertionError):
        await stays_alive(scene)


class Silent(SimulatedMachine):
    """Every question takes long, a fifth of the time that it may, and then has no answer."""

    def query(self, argv: Sequence[str], *, deadline: float = 5.0) -> Completed:
        self._wait(deadline)
        raise StateUnknown(f"{argv[0]}: no answer within {deadline:g} s")

    def kernel_text(self, path: str, *, deadline: float = 2.0) -> str | None:
        self._wait(deadline)
        raise StateUnknown(f"{path}: no answer within {deadline:g} s")

    def engine(self, path: str, *, deadline: float = 3.0) -> Any:
        self._wait(deadline)
        raise StateUnknown(f"the engine: no answer within {deadline:g} s")

    def _wait(self, deadline: float) -> None:
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("the screen itself asks the node")
        time.sleep(deadline / 5)


async def test_real_pages_on_a_node_that_answers_nothing(tmp_path: Path) -> None:
    machine = demo_machine("half", delay=0)
    session = demo_session("half", Silent(machine.snapshot(), machine.environment), tmp_path)

    async def scene() -> Watched:
        app = running_app(session=session, loader=load, draft=good_draft(demo=True))
        async with watched() as watch, app as driver:
            # From the moment when keys are heard: what the pages import comes while they are walked through.
            watch.clear()
            for name in ORDER:
                await driver.to_page(name)
                await driver.press("down", "down", "escape")
            await driver.settled()
            return watch

    await stays_alive(scene)


class Chatty(FakeMachine):
    """Says a hundred thousand lines as fast as it can."""

    def apply(self, operation: Operation, log: Log = silent) -> None:
        if any("docker" in key.name for key in operation.keys()):
            for number in range(100_000):
                log(
                    f"Get:{number} a line as apt prints it, of a length that is usual for such lines", stream="stdout"
                )
        super().apply(operation, log)


async def test_a_hundred_thousand_lines() -> None:
    async def scene() -> Watched:
        async with watched() as watch, running_app(machine=Chatty(), loader=FakePages().load) as driver:
            await review(driver)
            await apply(driver)
            await driver.until(lambda: isinstance(driver.app.screen, RunScreen))
            log = driver.app.screen.query_one(RunLog)
            await driver.until(lambda: log.line_count > 100)
            watch.clear()
            while driver.app.watcher.is_running:
                await driver.press("left", "right")
                assert len(log.lines) <= MAX_LINES
            await driver.until(lambda: isinstance(driver.app.screen, ResultScreen))
            assert len(driver.app.watcher.lines) <= MAX_LINES
            assert driver.app.watcher.run is not None
            assert driver.app.watcher.run.events.read_bytes().count(b"\n") > 100_000
            return watch

    await stays_alive(scene, 2 * LIMIT)


async def test_the_log_does_not_scroll_while_it_is_read() -> None:
    async with running_app(machine=FakeMachine(delay=0.5, lines=40)) as driver:
        await review(driver)
        await apply(driver)
        log = driver.app.screen.query_one(RunLog)
        await driver.until(lambda: log.line_count > log.size.height + 5)
        log.scroll_to(y=2, animate=False, immediate=True)
        await driver.pilot.pause()
        shown = log.lines[2]
        await driver.until(lambda: log.line_count > 60)
        assert log.lines[int(log.scroll_y)] == shown
