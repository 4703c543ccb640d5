"""The first picture: what it needs, what waits behind it, and how it gives way when nothing follows."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.tui.app import WizardApp
from bai_wizard.tui.widgets.rail import Rail
from bai_wizard.wizard.console import Console
from bai_wizard.wizard.desk import Desk
from bai_wizard.wizard.draft import Draft
from tests.tui.fakes import FakePages, fake_desk
from tests.tui.sitting import SMALL, Sitting, good_draft
from tests.tui.terminal import Terminal

# Our empty stand-in for what pydantic would import (`bai_wizard.pages` says why).
STUB = "pydantic.plugin._loader"
REPOSITORY = str(Path(__file__).parents[2])
# Each of these costs more than the whole of our own part of the first picture, or leads to what does.
TOO_HEAVY = ("pydantic", "textual.widgets._text_area", "bai_wizard.engine", "bai_wizard.machine", "bai_wizard.steps")


def test_nothing_is_imported_for_it_that_it_does_not_show() -> None:
    code = "import sys, bai_wizard.commands.wizard, bai_wizard.tui.app; print(*sys.modules, sep='\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = ended.stdout.splitlines()
    assert "bai_wizard.tui.widgets.rail" in loaded
    assert not [name for name in loaded if name.startswith(TOO_HEAVY) and name != STUB]
    assert not [name for name in loaded if name.startswith("bai_wizard.pages.")]


async def test_keys_wait_for_the_node_and_none_is_lost(tmp_path: Path) -> None:
    go_on = threading.Event()

    def opening() -> tuple[Desk, Draft]:
        assert go_on.wait(20)
        return fake_desk(tmp_path), good_draft()

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        seat = Sitting(app, pilot)
        await seat.until("8 Images         looking…")
        await seat.press("down", "down")
        rail = app.screen.query_one(Rail)
        assert rail.at == 0
        assert not app.is_open
        go_on.set()
        await seat.until(lambda: rail.at == 2)
        await seat.until("What the page docker is about.")


async def test_the_way_out_does_not_wait(tmp_path: Path) -> None:
    never = threading.Event()

    def opening() -> tuple[Desk, Draft]:
        never.wait(20)
        return fake_desk(tmp_path), good_draft()

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        await Sitting(app, pilot).until("looking…")
        await pilot.press("ctrl+c")
    never.set()
    assert app.return_value == 0


async def test_what_keeps_the_node_from_coming_is_handed_on() -> None:
    def opening() -> tuple[Desk, Draft]:
        raise PreflightError("no such node")

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        while app.failure is None:
            await pilot.pause(0.02)
    assert str(app.failure) == "no such node"


def test_wrong_answers_are_told_on_the_terminal_as_it_was(tmp_path: Path) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('version = 1\n[account]\nuid = "many"\nshel = "/bin/sh"\n')
    one = Terminal(
        [sys.executable, "-m", "bai_wizard", "--demo", "bare", "--answers", str(answers)], directory=REPOSITORY
    )
    try:
        assert one.end() == 2
        left = one.raw()[one.raw().rindex(b"\x1b[?1049l") :].decode()
        assert "answers.toml:3:" in left
        assert "answers.toml:4:" in left
    finally:
        one.kill()
