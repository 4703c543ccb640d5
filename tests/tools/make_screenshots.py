"""Makes `screenshots/`: every screen as SVG and PNG, from the simulated nodes, and a recording of a whole run.

Run it from the repository: `python -m tests.tools.make_screenshots [NAME…]`. The Korean picture needs the font of
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

from bai_wizard import pages, texts
from bai_wizard.core.errors import StepFailed
from bai_wizard.core.event import Log, silent
from bai_wizard.core.primitives import Primitive
from bai_wizard.machine.demo import demo_machine
from bai_wizard.tui.app import WizardApp
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.tui.screens.main import MainScreen
from bai_wizard.wizard.console import Console
from bai_wizard.wizard.desk import demo_desk
from bai_wizard.wizard.draft import Draft
from tests.tools import make_recording
from tests.tui.sitting import Sitting

RECORDING = "recording"
PLACE = Path(__file__).parents[2] / "screenshots"
FONT = "DejaVu Sans Mono, NanumGothicCoding, NanumGothic, monospace"
# What the screenshots' operator wants: everything that a GPU node needs, and two volumes.
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
# The width of a cell in the exporter's pictures.
CELL = 12.2
Scene = Callable[[Sitting, str], Awaitable[None]]
SCENES: dict[str, tuple[str, tuple[int, int], Scene]] = {}


def scene(name: str, demo: str = "bare", size: tuple[int, int] = (120, 36)) -> Callable[[Scene], Scene]:
    """Registers what leads to one picture."""

    def register(steps: Scene) -> Scene:
        SCENES[name] = (demo, size, steps)
        return steps

    return register


def shoot(seat: Sitting, name: str) -> None:
    """Writes the screen as SVG and as PNG."""
    import resvg_py

    drawn = re.sub(r"terminal-\d+", "terminal", seat.app.export_screenshot(title="bai-wizard"))
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S)
    drawn = re.sub(r'textLength="[\d.]+"([^>]*)>(.*?)</text>', _true_length, drawn)
    # Hangul twice as wide as a Latin letter, as on a terminal.
    latin = "NanumGothicCoding" if name == "korean" else "DejaVu Sans Mono"
    font = f"{latin}, {FONT}" if name == "korean" else FONT
    drawn = drawn.replace("Fira Code, monospace", font).replace("Fira Code", latin)
    (PLACE / f"{name}.svg").write_text(drawn, encoding="utf-8")
    picture = resvg_py.svg_to_bytes(svg_string=drawn, font_family=latin, zoom=1)
    (PLACE / f"{name}.png").write_bytes(bytes(picture))
    print(name)


def _true_length(match: re.Match[str]) -> str:
    """A text's length by its cells; the exporter counts letters, and Hangul takes two cells each."""
    rest, text = match.groups()
    return f'textLength="{cell_len(unescape(text)) * CELL:g}"{rest}>{text}</text>'


def _page(page: str) -> Scene:
    async def steps(seat: Sitting, name: str) -> None:
        await seat.to_page(page)
        await seat.settled()
        await seat.pilot.pause(0.3)
        shoot(seat, name)

    return steps


for _number, _name in enumerate(pages.ORDER):
    scene(f"page-{_number}-{_name}")(_page(_name))


@scene("overview-80x24", size=(80, 24))
async def _small(seat: Sitting, name: str) -> None:
    shoot(seat, name)


@scene("overview-120x40", size=(120, 40))
async def _large(seat: Sitting, name: str) -> None:
    await seat.settled()
    shoot(seat, name)


@scene("failure")
async def _failure(seat: Sitting, name: str) -> None:
    machine = seat.app.desk.machine
    really = machine.perform

    def perform(primitive: Primitive, log: Log = silent) -> None:
        if primitive.kind == "install-packages":
            log("E: You don't have enough free space in /var/cache/apt/archives/.", stream="stderr", level="error")
            raise StepFailed("apt-get: No space left on device: /var/cache/apt/archives")
        really(primitive, log)

    with patch.object(machine, "perform", perform):
        await _apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await seat.until("Back to the pages")
        shoot(seat, name)


@scene("diff")
async def _diff(seat: Sitting, name: str) -> None:
    await seat.to_page("tuning")
    await seat.press("d")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


@scene("review")
async def _review(seat: Sitting, name: str) -> None:
    await seat.press("A")
    await seat.until("Steps on")
    await seat.pilot.pause(0.5)
    shoot(seat, name)


@scene("run")
async def _run(seat: Sitting, name: str) -> None:
    await _apply(seat)
    await seat.until(lambda: seat.app.watcher.picture is not None and seat.app.watcher.picture.finished >= 9)
    await seat.pilot.pause(0.8)
    shoot(seat, name)
    await seat.press("escape")
    await seat.until(lambda: isinstance(seat.app.screen, MainScreen))
    await seat.press("l")
    await seat.pilot.pause(0.5)
    shoot(seat, "run-behind-the-pages")
    await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
    await seat.until("Back to the pages")
    shoot(seat, "end")
    await seat.press("escape")
    await seat.app.run_action("runs")
    await seat.pilot.pause(0.3)
    shoot(seat, "past-runs")
    await seat.press("enter")
    await seat.until("Take it back")
    await seat.press("end", "enter")
    await seat.until("would be taken back")
    shoot(seat, "undo")


async def _apply(seat: Sitting) -> None:
    await seat.press("A")
    await seat.until("Steps on")
    await seat.pilot.pause(0.5)
    await seat.press("end", "down", "enter")
    await seat.until(lambda: seat.app.watcher.picture is not None)


@scene("doctor", demo="broken")
async def _doctor(seat: Sitting, name: str) -> None:
    await seat.app.run_action("doctor")
    await seat.until("problems,")
    await seat.settled()
    shoot(seat, name)


@scene("help")
async def _help(seat: Sitting, name: str) -> None:
    await seat.press("?")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


@scene("commands")
async def _commands(seat: Sitting, name: str) -> None:
    await seat.press("ctrl+p")
    await seat.pilot.pause(0.8)
    shoot(seat, name)


@scene("korean")
async def _korean(seat: Sitting, name: str) -> None:
    await seat.to_page("docker")
    await seat.pilot.pause(0.3)
    shoot(seat, name)


def has_font(name: str) -> bool:
    """Whether a font of that name lies where the renderer looks; it draws boxes without one."""
    places = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
    return any(True for place in places for _ in place.rglob(f"{name}*.ttf"))


async def make(name: str) -> None:
    """One scene over its own node."""
    if name == "korean" and not has_font("NanumGothicCoding"):
        sys.exit("korean: there is no NanumGothicCoding here; install fonts-nanum-coding")
    demo, size, steps = SCENES[name]
    texts.choose("ko" if name == "korean" else "en")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        desk = demo_desk(demo, demo_machine(demo), Path(place))
        app = WizardApp(lambda: (desk, Draft(desk.machine.host, ANSWERS, demo=True)), console=Console("screen"))
        async with app.run_test(size=size) as pilot:
            seat = Sitting(app, pilot)
            await seat.opened()
            await seat.settled()
            await steps(seat, name)
            app.watcher.leave()


async def main(names: list[str]) -> None:
    """All scenes, or those named."""
    PLACE.mkdir(exist_ok=True)
    for name in names or [*SCENES, RECORDING]:
        if name == RECORDING:
            make_recording.write(make_recording.FILE, make_recording.record())
            print(name)
        else:
            await make(name)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
