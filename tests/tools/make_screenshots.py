"""Generate `screenshots/`: every screen as SVG and PNG from the simulated nodes, and a recording of a whole run.

Run it from the repository: `python -m tests.tools.make_screenshots [NAME…]`. The Korean screenshot needs the font of
Debian's package fonts-nanum-coding.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.cells import cell_len

from bai_wizard import locale, pages
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.operation import Operation
from bai_wizard.node.demo import demo_machine
from bai_wizard.session import demo_session
from bai_wizard.ui.console import Console
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.app import WizardApp
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.screens.result import ResultScreen
from tests.tools import make_recording
from tests.tui.app_driver import AppDriver

RECORDING = "recording"
TARGET = Path(__file__).parents[2] / "screenshots"
FONT = "DejaVu Sans Mono, NanumGothicCoding, NanumGothic, monospace"
# Answers for the screenshots: everything that a GPU node needs, and two volumes.
ANSWERS: dict[str, dict[str, Any]] = {
    "node": {"roles": ["compute"], "backend_ai": "26.4"},
    "account": {"sudo": "nopasswd"},
    "aliases": {
        "hosts": [
            {"ip": "10.20.30.10", "names": ["bai-m1"], "comment": "management node 01"},
            {"ip": "10.20.30.20", "names": ["bai-a1"], "comment": "this node"},
        ]
    },
    "storage": {"volumes": [{"type": "local", "name": "local"}]},
    "accelerators": {"nvidia": {}},
}
# The width of a cell in exported images.
CELL = 12.2
Scene = Callable[[AppDriver, str], Awaitable[None]]
SCENES: dict[str, tuple[str, tuple[int, int], Scene]] = {}


def scene(name: str, demo: str = "bare", size: tuple[int, int] = (120, 36)) -> Callable[[Scene], Scene]:
    """Register the scene of one screenshot."""

    def register(steps: Scene) -> Scene:
        SCENES[name] = (demo, size, steps)
        return steps

    return register


def shoot(seat: AppDriver, name: str) -> None:
    """Write the screen as SVG and PNG."""
    import resvg_py

    drawn = re.sub(r"terminal-\d+", "terminal", seat.app.export_screenshot(title="bai-wizard"))
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S)
    drawn = re.sub(r'textLength="[\d.]+"([^>]*)>(.*?)</text>', _true_length, drawn)
    # Hangul is twice as wide as Latin letters, as on a terminal.
    latin = "NanumGothicCoding" if name == "korean" else "DejaVu Sans Mono"
    font = f"{latin}, {FONT}" if name == "korean" else FONT
    drawn = drawn.replace("Fira Code, monospace", font).replace("Fira Code", latin)
    (TARGET / f"{name}.svg").write_text(drawn, encoding="utf-8")
    progress = resvg_py.svg_to_bytes(svg_string=drawn, font_family=latin, zoom=1)
    (TARGET / f"{name}.png").write_bytes(bytes(progress))
    print(name)


def _true_length(match: re.Match[str]) -> str:
    """Return the width of a text in cells; the exporter counts letters, but Hangul takes two cells each."""
    rest, text = match.groups()
    return f'textLength="{cell_len(unescape(text)) * CELL:g}"{rest}>{text}</text>'


def _page(page: str) -> Scene:
    async def steps(seat: AppDriver, name: str) -> None:
        await seat.to_page(page)
        await seat.settled()
        await seat.pilot.pause(0.3)
        shoot(seat, name)

    return steps


for _number, _name in enumerate(pages.ORDER):
    scene(f"page-{_number}-{_name}")(_page(_name))


@scene("overview-80x24", size=(80, 24))
async def _small(seat: AppDriver, name: str) -> None:
    shoot(seat, name)


@scene("overview-120x40", size=(120, 40))
async def _large(seat: AppDriver, name: str) -> None:
    await seat.settled()
    shoot(seat, name)


@scene("failure")
async def _failure(seat: AppDriver, name: str) -> None:
    machine = seat.app.session.machine
    really = machine.apply

    def perform(operation: Operation, log: Log = silent) -> None:
        if operation.kind == "install-packages":
            log("E: You don't have enough free space in /var/cache/apt/archives/.", stream="stderr", level="error")
            raise StepFailed("apt-get: No space left on device: /var/cache/apt/archives")
        really(operation, log)

    with patch.object(machine, "apply", perform):
        await _apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, ResultScreen))
        await seat.until("Back to the pages")
        shoot(seat, name)


@scene("diff")
async def _diff(seat: AppDriver, name: str) -> None:
    await seat.to_page("tuning")
    await seat.press("d")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


@scene("find")
async def _find(seat: AppDriver, name: str) -> None:
    await seat.settled()
    await seat.press("slash")
    await seat.type("registry")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


@scene("review")
async def _review(seat: AppDriver, name: str) -> None:
    await seat.press("A")
    await seat.until("steps · ")
    await seat.pilot.pause(0.5)
    shoot(seat, name)


@scene("run")
async def _run(seat: AppDriver, name: str) -> None:
    await _apply(seat)
    await seat.until(lambda: seat.app.watcher.progress is not None and seat.app.watcher.progress.finished >= 9)
    await seat.pilot.pause(0.8)
    shoot(seat, name)
    await seat.press("escape")
    await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
    await seat.press("l")
    await seat.pilot.pause(0.5)
    shoot(seat, "run-behind-the-pages")
    await seat.until(lambda: any("Press o" in notice.message for notice in seat.app._notifications))
    await seat.press("escape", "o")
    await seat.until(lambda: isinstance(seat.app.screen, ResultScreen))
    await seat.until("Back to the pages")
    await seat.settled()
    shoot(seat, "end")
    await seat.press("escape")
    await seat.app.run_action("runs")
    await seat.pilot.pause(0.3)
    shoot(seat, "past-runs")
    await seat.press("enter")
    await seat.until("Undo")
    await seat.press("end", "enter")
    await seat.until("will be undone")
    shoot(seat, "undo")


async def _apply(seat: AppDriver) -> None:
    await seat.press("A")
    await seat.until("steps · ")
    await seat.pilot.pause(0.5)
    await seat.press("end", "down", "enter")
    await seat.until(lambda: seat.app.watcher.progress is not None)


@scene("doctor", demo="broken")
async def _doctor(seat: AppDriver, name: str) -> None:
    await seat.app.run_action("doctor")
    await seat.until("problems,")
    await seat.settled()
    shoot(seat, name)


@scene("help")
async def _help(seat: AppDriver, name: str) -> None:
    await seat.press("?")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


@scene("commands")
async def _commands(seat: AppDriver, name: str) -> None:
    await seat.press("ctrl+p")
    await seat.pilot.pause(0.8)
    shoot(seat, name)


@scene("korean")
async def _korean(seat: AppDriver, name: str) -> None:
    await seat.to_page("docker")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


def has_font(name: str) -> bool:
    """Return whether the renderer finds a font of that name; without one, it draws boxes."""
    paths = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
    return any(True for directory in paths for _ in directory.rglob(f"{name}*.ttf"))


async def make(name: str) -> None:
    """Run one scene on its own node."""
    if name == "korean" and not has_font("NanumGothicCoding"):
        sys.exit("korean: there is no NanumGothicCoding here; install fonts-nanum-coding")
    demo, size, steps = SCENES[name]
    locale.choose("ko" if name == "korean" else "en")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as location:
        session = demo_session(demo, demo_machine(demo), Path(location))
        app = WizardApp(lambda: (session, Draft(session.machine.host, ANSWERS, demo=True)), console=Console("screen"))
        async with app.run_test(size=size) as pilot:
            seat = AppDriver(app, pilot)
            await seat.opened()
            await seat.settled()
            await steps(seat, name)
            app.watcher.leave()


async def main(names: list[str]) -> None:
    """Run all scenes, or the named ones."""
    TARGET.mkdir(exist_ok=True)
    for name in names or [*SCENES, RECORDING]:
        if name == RECORDING:
            make_recording.write(make_recording.FILE, make_recording.record())
            print(name)
        else:
            await make(name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
