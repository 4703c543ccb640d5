"""Searching the settings of all pages, and going from problem to problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard import locale
from bai_wizard.ui.find import Place, matching, places
from bai_wizard.ui.tui.screens.find import FindScreen, Places
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.widgets.actions import NAMES, Keys
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.page import Items
from bai_wizard.ui.tui.widgets.review_list import ReviewList
from tests.tui.app_driver import AppDriver
from tests.tui.test_page_table import opened


def focused_field(driver: AppDriver) -> str:
    """The field that has the focus, or whose editor has it."""
    focused = driver.app.screen.focused
    return next((field.key for field in driver.app.screen.query(Field) if focused in (field, *field.children)), "")


async def test_a_search_goes_to_a_field_of_another_page(tmp_path: Path) -> None:
    async with opened(tmp_path, "account") as driver:
        await driver.press("f3")  # works in a text field as well
        await driver.until(lambda: isinstance(driver.app.screen, FindScreen))
        assert "Home" in driver.text(), "without words, the fields of the open page are listed"
        await driver.type("address pool")
        await driver.until("Address pools")
        await driver.press("enter")
        # The field is folded under the advanced settings of another page.
        await driver.until(lambda: focused_field(driver) == "docker.address_pools")
        assert driver.app.screen.page == "docker"  # type: ignore[attr-defined]


async def test_a_search_goes_to_an_object(tmp_path: Path) -> None:
    async with opened(tmp_path, "account") as driver:
        await driver.press("escape", "slash")
        await driver.type("tcp_rmem")
        await driver.until("net.ipv4.tcp_rmem")
        await driver.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await driver.until(lambda: isinstance(driver.app.screen.focused, Items))
        items = driver.app.screen.focused
        assert isinstance(items, Items)
        row = items.row()
        assert row is not None
        assert row.name == "net.ipv4.tcp_rmem"
        assert "net.ipv4.tcp_rmem" in driver.text()


async def test_the_second_result_is_reached_with_the_arrows(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker") as driver:
        await driver.press("slash")
        await driver.type("registry")
        shown = driver.app.screen.query_one(Places)
        await driver.press("down", "down")
        row = shown.row()
        assert row is not None
        assert row != shown.found[0]
        await driver.press("enter")
        await driver.until(lambda: focused_field(driver) == row.key)


async def test_every_field_is_found_by_its_label_in_each_language(tmp_path: Path) -> None:
    async with opened(tmp_path, "account") as driver:
        model = driver.app.plan_model
        for language in ("en", "ko"):
            locale.choose(language)
            try:
                found = tuple(places(model.fact_cache, model.draft))
                assert len(found) > 80
                lost = [place for place in found if place not in matching(found, place.label, "node")]
                assert not lost
            finally:
                locale.choose("en")


def test_the_open_page_comes_first_and_labels_before_descriptions() -> None:
    found = (
        Place("node", "network.proxy", "Proxy", "", "for the registry"),
        Place("docker", "docker.a", "Mirrors", "", "of the registry"),
        Place("docker", "docker.b", "Registry CA", "", ""),
        Place("images", "images.registry", "Registry", "cr.backend.ai", ""),
    )
    keys = [place.key for place in matching(found, "REGISTRY", "docker")]
    assert keys == ["docker.b", "docker.a", "images.registry", "network.proxy"]
    assert [place.key for place in matching(found, "", "images")] == ["images.registry"]
    assert not matching(found, "registry nothing", "docker")


async def test_the_next_problem_may_be_an_object_without_a_field(tmp_path: Path) -> None:
    volumes = [
        {"type": "nfs", "name": "vol1", "source": "10.20.30.50:/export/vol1"},
        {"type": "cephfs", "name": "vol2", "source": "srv:/v"},
    ]
    async with opened(tmp_path, "storage", "broken", storage={"volumes": volumes}) as driver:
        items = next(each for each in driver.app.screen.query(Items) if any(row.mood == "bad" for row in each.texts))
        bad = [text.label for text in items.texts if text.mood == "bad"]
        assert len(bad) == 2
        driver.app.screen.query_one("#field-storage-volumes").focus()
        for label in bad:
            await driver.press("n")
            assert focused(driver) == label
        for label in bad[-2::-1]:
            await driver.press("N")
            assert focused(driver) == label


def focused(driver: AppDriver) -> str:
    """The field or the object that has the focus."""
    widget = driver.app.screen.focused
    if isinstance(widget, Items):
        row = widget.row()
        return row.label if row is not None else ""
    return focused_field(driver)


async def test_the_review_goes_to_the_next_blocked_step(tmp_path: Path) -> None:
    async with opened(tmp_path, "account", "broken") as driver:
        await driver.press("escape", "A")
        await driver.until(lambda: bool(driver.app.screen.query(ReviewList)) and bool(
            driver.app.screen.query_one(ReviewList).blocked))  # fmt: skip
        await driver.press("n")
        chosen = driver.app.screen.query_one(ReviewList)
        assert chosen.has_focus
        assert any(step in chosen.blocked for step in chosen.at_cursor().steps)


@pytest.mark.parametrize("place", ["rail", "page", "log"])
async def test_the_keys_that_are_shown_do_something(tmp_path: Path, place: str) -> None:
    """Each letter of the last line has a binding at the place that shows it."""
    async with opened(tmp_path, "docker", "broken", size=(120, 40)) as driver:
        screen = driver.app.screen
        if place == "rail":
            await driver.press("escape")
        elif place == "log":
            await driver.press("l")
            await driver.until(lambda: bool(screen.query("#log")))
            screen.query_one("#log").focus()
            await driver.pilot.pause()
        keys = [key for _, _, key in screen.query_one(Keys)._places]
        assert len(keys) > 5
        bound = screen.active_bindings
        unbound = [key for key in keys if key not in bound and (key in NAMES.values() or len(key) == 1)]
        assert not unbound
        text = driver.text().splitlines()[-1]
        assert ("Next match" in text) == (place == "log")
