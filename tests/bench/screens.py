"""The full screen beside plain Textual: start, keys, pages, a long log, idling. Run by hand, prints a table.

`python -m tests.bench.screens [ROUNDS]`. Both sides of each ratio alternate in one run, because other work on the
machine slows both down. Processor times are those of the process, which other work changes least.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.first_frame import MINIMAL, processor
from tests.tui.random_input import Dumb
from tests.tui.terminal import Terminal

REPOSITORY = str(Path(__file__).parents[2])
PLAIN = """
from textual.app import App
from textual.widgets import Input
class Plain(App):
    def compose(self):
        field = Input()
        field.cursor_blink = False  # as in the wizard
        yield field
Plain().run()
"""
LARGE = (120, 40)
LINES, KEPT, PER_FRAME = 100_000, 5000, 1000
KEYS, PAUSE, IDLE = 30, 0.1, 20.0
LAST = "Quit"


def wizard(node: str) -> list[str]:
    """The command line of a demo."""
    return [sys.executable, "-m", "bai_wizard", "--demo", node]


# Start.


def started(argv: list[str], seen: Callable[[str], bool]) -> tuple[float, float]:
    """Seconds and processor seconds until the screen shows something."""
    begun = time.monotonic()
    one = Terminal(argv, size=LARGE, directory=REPOSITORY)
    try:
        one.until(lambda: seen(one.text()))
        return time.monotonic() - begun, processor(one.pid)
    finally:
        one.kill()


def is_filled(text: str) -> bool:
    """Whether every page has its state."""
    return LAST in text and "checking" not in text and " changes" in text


# Keys.


@contextmanager
def driven(argv: list[str], mark: bytes) -> Iterator[Dumb]:
    """A child whose output is read without an emulator, once it has shown a mark and rests."""
    one = Dumb(argv, size=LARGE, directory=REPOSITORY)
    one.silence()
    try:
        while mark not in one.tail:
            assert one.read(30.0)
        quiet(one, 2.0)
        yield one
    finally:
        one.kill()


def quiet(one: Dumb, seconds: float) -> None:
    """Read until nothing has come for so long."""
    while select.select([one._fd], [], [], seconds)[0] and one.read(0):
        pass


def painted(one: Dumb, key: bytes, mark: bytes = b"") -> float:
    """Seconds from a key to the first output after it, or to the output that contains `mark`."""
    begun = time.monotonic()
    os.write(one._fd, key)
    one.tail = b""
    while not one.tail or mark not in one.tail:
        if not one.read(10.0) or time.monotonic() - begun > 30:
            raise AssertionError(f"{key!r} shows nothing")
    return time.monotonic() - begun


def typed(one: Dumb) -> tuple[list[float], float]:
    """Times from keys to their paint in the focused field, and processor seconds of each key."""
    times, before = [], processor(one.pid)
    for number in range(KEYS):
        times.append(painted(one, b"\x7f" if number % 2 else b"x"))
        quiet(one, PAUSE)
    return times, (processor(one.pid) - before) / KEYS


def switched(one: Dumb) -> list[float]:
    """Times from a digit to the page."""
    times = []
    for number in range(KEYS // 3):
        key, mark = ((b"3", b"Keep higher"), (b"6", b"Volumes"))[number % 2]
        times.append(painted(one, key, mark))
        quiet(one, 3 * PAUSE)
    return times


def idling(one: Dumb) -> float:
    """Percent of a processor without input."""
    quiet(one, 3.0)
    before, begun = processor(one.pid), time.monotonic()
    while time.monotonic() - begun < IDLE:
        one.read(1.0)
    return 100 * (processor(one.pid) - before) / (time.monotonic() - begun)


# A long log, each in a process of its own.


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[list[float], list[float]]]:
    """How long the loop was late, and its processor time between two chances, in seconds."""
    late: list[float] = []
    busy: list[float] = []

    async def look() -> None:
        while True:
            begun, used = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.002)
            late.append(time.monotonic() - begun - 0.002)
            busy.append(time.thread_time() - used)

    task = asyncio.create_task(look())
    try:
        yield late, busy
    finally:
        task.cancel()


def memory(field: str) -> float:
    """MiB of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field)[2].split()[0]) / 1024


async def measured(fill: Callable[[], Any]) -> dict[str, float]:
    """What filling a log takes."""
    idle = memory("VmRSS:")
    async with watched() as (late, busy):
        begun, used = time.monotonic(), time.process_time()
        await fill()
        wall, spent = time.monotonic() - begun, time.process_time() - used
    return {
        "rate": LINES / wall,
        "cpu_rate": LINES / spent,
        "lag": 1000 * statistics.quantiles(late, n=20)[-1],
        "busy": 1000 * statistics.quantiles(busy, n=20)[-1],
        "memory": memory("VmHWM:") - idle,
    }


async def plain_log() -> dict[str, float]:
    """Textual's own log, so many lines a frame."""
    from textual.app import App
    from textual.widgets import Log

    class Logging(App[None]):
        def compose(self) -> Any:
            yield Log(max_lines=KEPT)

    app = Logging()
    async with app.run_test(size=LARGE) as pilot:
        log = app.query_one(Log)

        async def fill() -> None:
            for begin in range(0, LINES, PER_FRAME):
                log.write_lines([line(number) for number in range(begin, begin + PER_FRAME)])
                await asyncio.sleep(1 / 60)

        await pilot.pause(0.5)
        return await measured(fill)


def line(number: int) -> str:
    """A line as apt prints it."""
    return f"Get:{number} http://archive.example/debian trixie/main amd64 libsomething{number} amd64 1.2.3-4 [123 kB]"


async def wizard_log(run: Any) -> dict[str, float]:
    """The events of a run on its screen."""
    from bai_wizard.ui.progress import RunProgress
    from bai_wizard.ui.tui.screens.runs import RunScreen
    from bai_wizard.ui.tui.widgets.log import RunLog
    from tests.tui.app_driver import running_app

    async with running_app(size=LARGE) as driver:
        await driver.settled()
        app = driver.app
        app.watcher.progress = RunProgress(run.id)
        await app.push_screen(RunScreen())
        await driver.until(lambda: bool(app.screen.query(RunLog)))
        log = app.screen.query_one(RunLog)
        await driver.pilot.pause(0.5)

        async def fill() -> None:
            app.watcher.watch(run, RunProgress(run.id), live=False)
            while app.watcher.is_running:
                await asyncio.sleep(0.005)

        result = await measured(fill)
        await driver.until(lambda: f"libsomething{LINES - 1}" in "\n".join(log.lines[-3:]))
        return result


def written(directory: Path) -> Any:
    """A run with a long log."""
    from bai_wizard.core.step import Plan
    from bai_wizard.engine.directory import create_run
    from bai_wizard.engine.events import EventLog
    from bai_wizard.engine.lock import StatePaths

    run = create_run(StatePaths(directory), Plan("gpu01"), {})
    events = EventLog(run.events, run.id)
    events.emit("started", "install 3 packages", step="docker.engine")
    for number in range(LINES):
        events.emit("log", line(number), step="docker.engine", stream="stdout")
    events.emit("summary", "done")
    events.close()
    return run


def log_of(what: str) -> dict[str, float]:
    """The result of one of the two logs."""
    argv = [sys.executable, "-m", "tests.bench.screens", "--log", what]
    ended = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=600)
    result: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return result


def one_log(what: str) -> None:
    """Print the result of a log."""
    if what == "plain":
        print(json.dumps(asyncio.run(plain_log())))
        return
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(asyncio.run(wizard_log(written(Path(place))))))


# The table.


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def row(what: str, plain: float, ours: float, unit: str, aim: str) -> None:
    """One line of the table."""
    ratio = f"{ours / plain:.2f}" if plain else ""
    print(f"| {what} | {plain:.4g} {unit} | {ours:.4g} {unit} | {ratio} | {aim} |", flush=True)


def main(rounds: int) -> None:
    """Measure in turn, and print medians of the rounds."""
    minimal = [sys.executable, "-c", MINIMAL]
    starts: list[tuple[float, ...]] = []
    keys: list[tuple[float, ...]] = []
    logs: list[tuple[dict[str, float], dict[str, float]]] = []
    for _ in range(rounds):
        plain = started(minimal, lambda text: "to do" in text)
        starts.append(
            (*plain, *started(wizard("bare"), lambda text: LAST in text), *started(wizard("bare"), is_filled))
        )
        plain_input = [sys.executable, "-c", PLAIN]
        with driven(plain_input, b"\x1b[") as one, driven(wizard("bare"), b" changes") as two:
            for step in (b"1", b"\x1b[A", b"\x1b[A", b"\x1b[A"):
                painted(two, step)
                quiet(two, 0.5)
            (first, cpu), (second, our_cpu) = typed(one), typed(two)
            os.write(two._fd, b"\x1b")
            quiet(two, 1.0)
            keys.append((p95(first), cpu, p95(second), our_cpu, p95(switched(two)), idling(one), idling(two)))
        logs.append((log_of("plain"), log_of("wizard")))
    start, key = ([statistics.median(values) for values in zip(*rows, strict=True)] for rows in (starts, keys))
    print("| what | plain Textual | bai-wizard | ratio | wanted |\n| --- | --- | --- | --- | --- |")
    row("first picture, processor", start[1], start[3], "s", "at most 1.3")
    row("first picture", start[0], start[2], "s", "")
    row("everything filled in", start[0], start[4], "s", "at most 2.5")
    row("key to paint in a field, p95", 1000 * key[0], 1000 * key[2], "ms", "at most 2")
    row("processor of a key", 1000 * key[1], 1000 * key[3], "ms", "")
    row("digit to page, p95, beside a key", 1000 * key[0], 1000 * key[4], "ms", "at most 5")
    row("idle", key[5], key[6], "%", "at most 0.3 %")
    units = {"rate": "lines/s", "cpu_rate": "lines/s of processor", "lag": "ms", "busy": "ms", "memory": "MiB"}
    aims = {"rate": "at least 0.9", "lag": "at most 15 ms", "memory": "at most 60 MiB"}
    for name, unit in units.items():
        sides = [statistics.median(pair[side][name] for pair in logs) for side in (0, 1)]
        row(f"{LINES:,} lines, {name}", sides[0], sides[1], unit, aims.get(name, ""))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--log"]:
        one_log(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
