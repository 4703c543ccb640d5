"""Everything is reachable with arrows, Tab, Enter, Space and Esc at 80×24."""

from __future__ import annotations

import pytest
from textual.binding import Binding
from textual.widget import Widget

from bai_wizard import pages
from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages import ORDER
from bai_wizard.tui.app import WizardApp
from bai_wizard.tui.screens.main import ACTIONS, MainScreen
from bai_wizard.tui.widgets.actions import Actions
from bai_wizard.tui.widgets.entry import TypedField
from bai_wizard.tui.widgets.field import Field
from bai_wizard.tui.widgets.rail import Rail
from tests.tui.fakes import FakePages, fake_desk
from tests.tui.sitting import sitting


def owner(widget: Widget | None) -> Widget | None:
    """The field that an editor belongs to."""
    return widget.parent if widget is not None and isinstance(widget.parent, TypedField) else widget


@pytest.mark.parametrize("name", ORDER)
async def test_every_field_of_a_page_by_arrows_alone(name: str) -> None:
    async with sitting(loader=pages.load) as seat:
        await seat.settled()
        await seat.to_page(name)
        screen = seat.app.screen
        assert isinstance(screen, MainScreen)
        wanted = {owner(widget) for widget in screen.focus_chain if not isinstance(widget, Rail)}
        visited: list[Widget | None] = []
        for _ in range(200):
            focused = seat.app.focused
            visited.append(owner(focused))
            if isinstance(focused, Actions):
                break
            assert focused is not None
            assert focused.region.overlaps(screen.query_one("#place").region), f"{focused} is out of sight"
            await seat.press("down")
        assert wanted <= set(visited)
        await seat.press("escape")
        assert isinstance(seat.app.focused, Rail)


async def test_every_entry_of_the_rail_leads_somewhere() -> None:
    async with sitting() as seat:
        await seat.settled()
        rail = seat.app.screen.query_one(Rail)
        for key in ACTIONS:
            if key == "quit":
                continue
            await seat.press("home")
            target = [entry.key for entry in rail.entries if entry.key].index(key)
            await seat.press(*["down"] * target, "enter")
            await seat.until(lambda: not isinstance(seat.app.screen, MainScreen))
            await seat.press("escape")
            await seat.until(lambda: isinstance(seat.app.screen, MainScreen))


async def test_escape_loses_nothing() -> None:
    async with sitting() as seat:
        await seat.settled()
        await seat.to_page("docker")
        await seat.press("down", "down", "down", "down", "down")
        await seat.type("28")
        await seat.press("escape")
        await seat.to_page("tuning")
        await seat.to_page("docker")
        assert seat.app.surveyor.draft.value("docker", ("version",)) == "28"
        assert "28" in seat.text()


async def test_keys_typed_ahead_find_what_the_keys_before_them_opened() -> None:
    async with sitting() as seat:
        await seat.settled()
        await seat.pilot.press(*["down"] * 2, "right", *["down"] * 5, *"28", "down", "space")
        await seat.until(lambda: seat.app.surveyor.draft.value("docker", ("version",)) == "28")
        await seat.until(lambda: seat.app.surveyor.draft.value("docker", ("hold",)) is False)


async def test_a_demo_node_is_a_desk_like_any_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    machine = demo_machine("bare", delay=0)
    desk = fake_desk(tmp_path_factory.mktemp("runs"), machine)
    async with sitting(desk=desk, loader=pages.load) as seat:
        await seat.settled()
        assert "gpu01" in seat.text()


async def test_a_probe_that_gives_no_answer_costs_its_page_only() -> None:
    async with sitting(loader=FakePages(broken=("docker",)).load) as seat:
        await seat.until("no answer")
        await seat.settled()
        assert "Tuning          1 to do" in seat.text()


async def test_nothing_is_probed_for_a_value_that_is_half_typed() -> None:
    fake = FakePages()
    async with sitting(loader=fake.load) as seat:
        await seat.settled()
        await seat.to_page("docker")
        await seat.press("down", "down", "down", "down", "down")
        before = len(fake.probes)
        for letter in "28.5":
            await seat.type(letter)
            # Longer than the rest of the keys after which a plan is made.
            await seat.pilot.pause(0.4)
        assert len(fake.probes) == before
        await seat.press("down")
        await seat.until(lambda: fake.probes[before:] == ["docker"])


async def test_help_says_all_about_the_field_under_the_cursor() -> None:
    async with sitting(loader=pages.load) as seat:
        await seat.settled()
        await seat.to_page("docker")
        while not isinstance(seat.app.focused, Field):
            await seat.press("tab")
        await seat.press("f1")
        await seat.until("In the answers file: docker.source")
        assert "distro: the distribution's packages" in seat.text()
        assert "Default: docker-ce" in seat.text()
        await seat.press("escape")
        # The help of the field that was left is still there, for terminals whose F1 goes elsewhere.
        await seat.press("escape", "?")
        await seat.until("In the answers file: docker.source")


async def test_every_action_stands_in_the_palette_by_its_name() -> None:
    async with sitting() as seat:
        await seat.settled()
        screen = seat.app.screen
        offered = {command.callback for command in seat.app.get_system_commands(screen)}
        for owner_of, actions in ((seat.app, WizardApp.BINDINGS), (screen, MainScreen.BINDINGS)):
            for binding in actions:
                assert isinstance(binding, Binding)
                if binding.description in ("Pages", "Page", ""):
                    continue  # walking, not doing
                assert getattr(owner_of, f"action_{binding.action}") in offered, binding
        for key, (_, action) in ACTIONS.items():
            assert getattr(seat.app, f"action_{action}") in offered, key
        await seat.press("ctrl+p")
        await seat.type("diff")
        await seat.until("Show what the open page changes")
        await seat.press("enter")
        await seat.until("What this page changes")
