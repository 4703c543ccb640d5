"""The first screen shows the node and what each page would change, and leads to what needs attention."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from bai_wizard import locale
from bai_wizard.locale import tr
from bai_wizard.pages import ORDER, TITLES
from bai_wizard.ui.tui.screens.main import ACTIONS, MainScreen
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.reference_table import SheetRows
from bai_wizard.ui.tui.widgets.sidebar import Sidebar, fitting
from tests.tui.app_driver import AppDriver
from tests.tui.test_page_table import field, opened


def main(driver: AppDriver) -> MainScreen:
    screen = driver.app.screen
    assert isinstance(screen, MainScreen)
    return screen


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_everything_is_in_sight(language: str, size: tuple[int, int], tmp_path: Path) -> None:
    locale.choose(language)
    try:
        async with opened(tmp_path, "docker", size=size) as driver:
            await driver.press("escape")
            await driver.until("8 × H100")
            text = driver.text()
            for word in ("/var/lib/docker", "176", "503", *map(tr, TITLES.values())):
                assert word in text, word
            for title, _ in ACTIONS.values():
                assert tr(title) in text, title
            model = driver.app.plan_model
            for line in text.splitlines():
                for page in ORDER[1:]:
                    if line.startswith(f" {ORDER.index(page)} "):
                        assert model.status(page).word in line
    finally:
        locale.choose("en")


async def test_a_blocked_page_opens_at_its_cause(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker", account={"sudo": "password"}) as driver:
        await driver.press("escape", "home", "down", "enter")
        await driver.until(lambda: driver.app.focused is field(driver, "account.sudo"))
        assert "! requires a password" in driver.text()
        await driver.press("escape")
        assert isinstance(driver.app.focused, Sidebar)


async def test_digits_open_pages_and_n_leads_to_problems(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker", account={"sudo": "password"}, node={"backend_ai": "26.4"}) as driver:
        await driver.press("escape", "5")
        await driver.until(lambda: main(driver).page == "aliases" and main(driver).has_class("-open"))
        await driver.press("escape", "home", "n")
        await driver.until(lambda: getattr(driver.app.focused, "key", "") == "account.sudo")


async def test_another_screen_leads_to_a_page_while_one_is_open(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker") as driver:
        driver.app.go_to_page("aliases")
        await driver.until(lambda: main(driver).page == "aliases")
        await driver.until(lambda: driver.app.focused is field(driver, "aliases.hosts"))


async def test_letters_and_digits_are_text_while_typing(tmp_path: Path) -> None:
    async with opened(tmp_path, "account") as driver:
        await driver.until(lambda: isinstance(driver.app.focused, Input))
        assert "F1 Help" in driver.text()
        assert "Apply all" not in driver.text()
        await driver.press("end", "3", "n", "a")
        assert main(driver).page == "account"
        assert driver.app.plan_model.draft.value("account", ("username",)) == "bai3na"
        await driver.press("ctrl+r")
        assert not driver.app.plan_model.draft.has("account", ("username",))
        assert driver.app.focused is not None
        assert isinstance(driver.app.focused, Input)
        assert driver.app.focused.value == "bai"


async def test_reset_page_clears_all_of_its_fields(tmp_path: Path) -> None:
    async with opened(tmp_path, "account", account={"sudo": "nopasswd", "uid": 2000}) as driver:
        await main(driver).action_reset_page()
        await driver.until(lambda: field(driver, "account.uid").value == 1100)
        assert not driver.app.plan_model.draft.value("account", ())


async def test_a_row_of_the_version_table_sets_the_release(tmp_path: Path) -> None:
    async with opened(tmp_path, "python", node={"backend_ai": "26.4"}) as driver:
        rows = driver.app.screen.query_one(SheetRows)
        assert driver.app.focused is rows
        assert len(rows.table.rows) == 15
        assert rows.cursor == rows.table.marked
        at = next(index for index, row in enumerate(rows.table.rows) if row[0].startswith("25.1 "))
        rows.cursor = at
        # The row that the manual has wrong says so.
        await driver.until("the manual says 3.13.x")
        await driver.press("enter")
        await driver.until(lambda: rows.table.marked == at)
        assert driver.app.plan_model.draft.value("node", ("backend_ai",)) == "25.5"
        assert not [each for each in driver.app.screen.query(Field) if each.problem]


async def test_a_terminal_that_is_too_small_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker", size=(50, 18)) as driver:
        await driver.until("at least 60×20")
        await driver.pilot.resize_terminal(60, 20)
        await driver.until(lambda: "at least 60×20" not in driver.text())


def test_whole_parts_are_left_out() -> None:
    assert fitting("one, two, three", 20) == "one, two, three"
    assert fitting("one, two, three", 11) == "one, two, …"
    assert fitting("a single sentence", 9) == "a single…"


async def test_the_accelerators_page_lists_each_gpu_and_what_uses_it(tmp_path: Path) -> None:
    async with opened(tmp_path, "accelerators", "finished", node={"backend_ai": "26.4"}) as driver:
        rows = driver.app.screen.query_one(SheetRows)
        lines = [" ".join(line.plain.split()) for line in rows.lines()]
        assert lines[0] == "0 H100 80GB HBM3 ▮▮▮▮▮▮▮▯ 72 of 80 GiB 580.95.05 kernel.train-70b"
        assert lines[4].split()[-1] == "kernel.notebook"
        assert lines[7] == "7 H100 80GB HBM3 ▯▯▯▯▯▯▯▯ 0 of 80 GiB 580.95.05 nothing"
        rows.focus()
        await driver.press("home")
        assert lines[0] in " ".join(driver.text().split())
        note = "python (48211) in container kernel.train-70b, 71.0 GiB"
        await driver.until(lambda: note in " ".join(driver.text().split()))
