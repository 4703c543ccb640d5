"""Everything is reachable with arrows, Tab, Enter, Space and Esc at 80×24."""

from __future__ import annotations

import pytest
from textual.binding import Binding
from textual.widget import Widget

from bai_wizard import pages
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import ORDER
from bai_wizard.ui.tui.app import WizardApp
from bai_wizard.ui.tui.screens.main import ACTIONS, MainScreen
from bai_wizard.ui.tui.widgets.actions import Actions
from bai_wizard.ui.tui.widgets.entry import TypedField
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.page import PageView
from bai_wizard.ui.tui.widgets.sidebar import Sidebar
from tests.tui.app_driver import running_app
from tests.tui.fakes import FakePages, fake_session


def owner(widget: Widget | None) -> Widget | None:
    """The field that an editor belongs to."""
    return widget.parent if widget is not None and isinstance(widget.parent, TypedField) else widget


@pytest.mark.parametrize("name", ORDER)
async def test_every_field_of_a_page_by_arrows_alone(name: str) -> None:
    async with running_app(loader=pages.load) as driver:
        await driver.settled()
        await driver.to_page(name)
        screen = driver.app.screen
        assert isinstance(screen, MainScreen)
        # A page with a problem opens there.
        screen.query_one(PageView).go_to_first()
        await driver.pilot.pause()
        wanted = {owner(widget) for widget in screen.focus_chain if not isinstance(widget, Sidebar)}
        visited: list[Widget | None] = []
        for _ in range(200):
            focused = driver.app.focused
            visited.append(owner(focused))
            if isinstance(focused, Actions):
                break
            assert focused is not None
            assert focused.region.overlaps(screen.query_one("#place").region), f"{focused} is out of sight"
            await driver.press("down")
        assert wanted <= set(visited)
        await driver.press("escape")
        assert isinstance(driver.app.focused, Sidebar)


async def test_every_entry_of_the_rail_leads_somewhere() -> None:
    async with running_app() as driver:
        await driver.settled()
        rail = driver.app.screen.query_one(Sidebar)
        for key in ACTIONS:
            if key == "quit":
                continue
            await driver.press("home")
            target = [entry.key for entry in rail.entries if entry.key].index(key)
            await driver.press(*["down"] * target, "enter")
            await driver.until(lambda: not isinstance(driver.app.screen, MainScreen))
            await driver.press("escape")
            await driver.until(lambda: isinstance(driver.app.screen, MainScreen))


async def test_escape_loses_nothing() -> None:
    async with running_app() as driver:
        await driver.settled()
        await driver.to_page("docker")
        await driver.press("down", "down", "down")
        await driver.type("28")
        await driver.press("escape")
        await driver.to_page("tuning")
        await driver.to_page("docker")
        assert driver.app.plan_model.draft.value("docker", ("version",)) == "28"
        assert "28" in driver.text()


async def test_keys_typed_ahead_reach_the_widget_that_earlier_keys_opened() -> None:
    async with running_app() as driver:
        await driver.settled()
        await driver.pilot.press(*["down"] * 2, "right", *["down"] * 3, *"28", "down", "space")
        await driver.until(lambda: driver.app.plan_model.draft.value("docker", ("version",)) == "28")
        await driver.until(lambda: driver.app.plan_model.draft.value("docker", ("hold",)) is False)


async def test_a_demo_node_is_a_session_like_any_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    machine = demo_machine("bare", delay=0)
    session = fake_session(tmp_path_factory.mktemp("runs"), machine)
    async with running_app(session=session, loader=pages.load) as driver:
        await driver.settled()
        assert "gpu01" in driver.text()


async def test_a_probe_that_gives_no_answer_costs_its_page_only() -> None:
    async with running_app(loader=FakePages(broken=("docker",)).load) as driver:
        await driver.until("unknown")
        await driver.settled()
        assert "Tuning        1 change" in driver.text()


async def test_nothing_is_probed_for_a_value_that_is_half_typed() -> None:
    fake = FakePages()
    async with running_app(loader=fake.load) as driver:
        await driver.settled()
        await driver.to_page("docker")
        await driver.press("down", "down", "down")
        before = len(fake.probes)
        for character in "28.5":
            await driver.type(character)
            # Longer than the rest of the keys after which a plan is made.
            await driver.pilot.pause(0.4)
        assert len(fake.probes) == before
        await driver.press("down")
        await driver.until(lambda: fake.probes[before:] == ["docker"])


async def test_help_explains_the_field_under_the_cursor() -> None:
    async with running_app(loader=pages.load) as driver:
        await driver.settled()
        await driver.to_page("docker")
        while not isinstance(driver.app.focused, Field):
            await driver.press("tab")
        await driver.press("f1")
        await driver.until("In the answers file: docker.source")
        assert "distro: the distribution's packages" in driver.text()
        assert "Default: docker-ce" in driver.text()
        await driver.press("escape")
        # The help of the field that was left is still there, for terminals whose F1 goes elsewhere.
        await driver.press("escape", "?")
        await driver.until("In the answers file: docker.source")


async def test_every_action_is_in_the_command_palette() -> None:
    async with running_app() as driver:
        await driver.settled()
        screen = driver.app.screen
        offered = {command.callback for command in driver.app.get_system_commands(screen)}
        for owner_of, actions in ((driver.app, WizardApp.BINDINGS), (screen, MainScreen.BINDINGS)):
            for binding in actions:
                assert isinstance(binding, Binding)
                if binding.description in ("Pages", "Page", "", "Next problem", "Previous problem"):
                    continue  # walking, not doing
                assert getattr(owner_of, f"action_{binding.action}") in offered, binding
        for key, (_, action) in ACTIONS.items():
            assert getattr(driver.app, f"action_{action}") in offered, key
        await driver.press("ctrl+p")
        await driver.type("diff")
        await driver.until("Show what the open page changes")
        await driver.press("enter")
        await driver.until("Changes on this page")
