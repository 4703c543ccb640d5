"""The first frame: what it needs, what is loaded after it, and how it is replaced."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from bai_wizard.core.errors import PreflightError
from bai_wizard.session import Session
from bai_wizard.ui.console import Console
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.app import WizardApp
from bai_wizard.ui.tui.widgets.sidebar import Sidebar
from tests.tui.app_driver import SMALL, AppDriver, good_draft
from tests.tui.fakes import FakePages, fake_session
from tests.tui.terminal import Terminal
from tests.waiting import PATIENCE

REPOSITORY = str(Path(__file__).parents[2])
# Each of these costs more than the whole of our own part of the first picture, or leads to what does.
TOO_HEAVY = ("textual.widgets._text_area", "bai_wizard.engine", "bai_wizard.node", "bai_wizard.steps")


def test_the_first_screen_imports_only_what_it_shows() -> None:
    code = "import sys, bai_wizard.commands.wizard, bai_wizard.ui.tui.app; print(*sys.modules, sep='\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = ended.stdout.splitlines()
    assert "bai_wizard.ui.tui.widgets.sidebar" in loaded
    assert not [name for name in loaded if name.startswith(TOO_HEAVY)]
    assert not [name for name in loaded if name.startswith("bai_wizard.pages.")]


async def test_keys_wait_for_the_node_and_none_is_lost(tmp_path: Path) -> None:
    go_on = threading.Event()

    def opening() -> tuple[Session, Draft]:
        assert go_on.wait(PATIENCE)
        return fake_session(tmp_path), good_draft()

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        driver = AppDriver(app, pilot)
        await driver.until("8 Images        checking…")
        await driver.press("down", "down")
        rail = app.screen.query_one(Sidebar)
        assert rail.cursor == 0
        assert not app.is_open
        go_on.set()
        await driver.until(lambda: rail.cursor == 2)


async def test_quitting_does_not_wait(tmp_path: Path) -> None:
    never = threading.Event()

    def opening() -> tuple[Session, Draft]:
        never.wait(PATIENCE)
        return fake_session(tmp_path), good_draft()

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        await AppDriver(app, pilot).until("checking…")
        await pilot.press("ctrl+c")
    never.set()
    assert app.return_value == 0


async def test_an_error_while_opening_the_node_is_passed_on() -> None:
    def opening() -> tuple[Session, Draft]:
        raise PreflightError("no such node")

    app = WizardApp(opening, loader=FakePages().load, console=Console("screen"))
    async with app.run_test(size=SMALL) as pilot:
        while app.failure is None:
            await pilot.pause(0.02)
    assert str(app.failure) == "no such node"


def test_wrong_answers_are_reported_on_the_terminal_as_it_was(tmp_path: Path) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text("version = 1\n[account\n")
    one = Terminal(
        [sys.executable, "-m", "bai_wizard", "--demo", "bare", "--answers", str(answers)], directory=REPOSITORY
    )
    try:
        assert one.end() == 2
        left = one.raw()[one.raw().rindex(b"\x1b[?1049l") :].decode()
        assert "answers.toml:2:" in left
    finally:
        one.kill()
