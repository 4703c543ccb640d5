"""The user's configuration file: theme, keys, vim keys; remembered, and never in the way of a start."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bai_wizard.core.errors import PreflightError
from bai_wizard.ui.config import NAME, load, save_theme
from bai_wizard.ui.tui.screens.review import ReviewScreen
from bai_wizard.ui.tui.widgets.sidebar import Sidebar
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.fakes import fake_session


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    return tmp_path / "config/bai-wizard" / NAME


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)


def notices(driver: AppDriver) -> str:
    return "\n".join(notice.message for notice in driver.app._notifications)


async def test_keys_and_theme_of_the_user_are_used_and_a_new_theme_is_remembered(file: Path, tmp_path: Path) -> None:
    write(file, '# mine\ntheme = "nord"\nvim = true\n\n[keys]\n"app.review" = "f9"\n')
    session = replace(fake_session(tmp_path / "runs"), demo="")
    async with running_app(session=session) as driver:
        await driver.until(lambda: driver.app.theme == "nord")
        await driver.settled()
        rail = driver.app.screen.query_one(Sidebar)
        before = rail.cursor
        await driver.press("j")
        assert rail.cursor == before + 1
        await driver.press("k")
        assert rail.cursor == before
        driver.app.theme = "gruvbox"
        await driver.until(lambda: 'theme = "gruvbox"' in file.read_text())
        await driver.press("f9")
        await driver.until(lambda: isinstance(driver.app.screen, ReviewScreen))
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert '"app.review" = "f9"' in text


async def test_an_unusable_file_is_reported_and_ignored(file: Path, tmp_path: Path) -> None:
    write(file, "theme = [")
    session = replace(fake_session(tmp_path / "runs"), demo="")
    async with running_app(session=session) as driver:
        await driver.until(lambda: "config.toml is ignored" in notices(driver))
        driver.app.theme = "nord"
        await driver.until(lambda: driver.app.theme == "nord")
    assert file.read_text() == "theme = [", "what the user wrote is kept"


async def test_a_demo_neither_reads_nor_writes_it(file: Path) -> None:
    write(file, 'theme = "nord"\n')
    async with running_app() as driver:
        await driver.settled()
        assert driver.app.theme == "wizard-dark"


def test_without_a_file_everything_is_as_usual_and_the_first_theme_creates_it(file: Path) -> None:
    assert load().keymap == {}
    save_theme("nord")
    assert file.read_text() == 'theme = "nord"\n'
    assert load().theme == "nord"


@pytest.mark.parametrize("text", ["theme = 3", "unknown = 1", "keys = 1", "\0", "theme = "])
def test_other_contents_are_refused(file: Path, text: str) -> None:
    write(file, text)
    with pytest.raises(PreflightError, match="is ignored"):
        load()
