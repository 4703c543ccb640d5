"""A page is one table: current and desired values with their changes, edited in place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bai_wizard import locale
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import ORDER, load, settings_of
from bai_wizard.pages.fields import hints_of, parts_of
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft, tables_of
from bai_wizard.ui.form_fields import form_fields
from bai_wizard.ui.page_rows import page_rows
from bai_wizard.ui.plans import FactCache
from bai_wizard.ui.tui.widgets.choice import ChoiceField
from bai_wizard.ui.tui.widgets.columns import columns_of
from bai_wizard.ui.tui.widgets.entry import TypedField
from bai_wizard.ui.tui.widgets.field import Field
from bai_wizard.ui.tui.widgets.form import EditRowScreen, Fold
from bai_wizard.ui.tui.widgets.page import TableHead
from tests.tui.app_driver import AppDriver, running_app

ANSWERS: dict[str, dict[str, Any]] = {"account": {"sudo": "nopasswd"}, "accelerators": {"nvidia": {}}}


@asynccontextmanager
async def opened(
    directory: Path, page: str, demo: str = "bare", size: tuple[int, int] = (80, 24), **answers: dict[str, Any]
) -> AsyncIterator[AppDriver]:
    """A page of a simulated node, planned."""
    session = demo_session(demo, demo_machine(demo, delay=0), directory)
    draft = Draft(session.machine.host, {**ANSWERS, **answers}, demo=True)
    async with running_app(session=session, loader=load, draft=draft, size=size) as driver:
        await driver.settled()
        await driver.to_page(page)
        yield driver


def field(driver: AppDriver, key: str) -> Field:
    """A field by its path in the answers."""
    return next(each for each in driver.app.screen.query(Field) if each.key == key)


def row(driver: AppDriver, key: str) -> str:
    """What the screen shows in the lines of a field."""
    region = field(driver, key).region
    return "\n".join(driver.text().splitlines()[region.y : region.bottom])


@pytest.fixture(params=["en", "ko"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    """The languages of the screens."""
    locale.choose(request.param)
    yield request.param
    locale.choose("en")


async def test_the_outcome_is_visible_while_typing(tmp_path: Path) -> None:
    async with opened(tmp_path, "account", "half", size=(100, 40)) as driver:
        driver.app.screen.query_one("#fold-right", Fold).action_take()
        uid = field(driver, "account.uid")
        await driver.until(lambda: uid.display)
        uid.focus()
        await driver.press("end", "backspace", "1")
        # Neither Enter nor leaving the field is needed; what blocks the change is named in the row.
        await driver.until(lambda: "! 'bai' has uid 1100, not 1101" in row(driver, "account.uid"))
        assert uid.text.mood == "bad"
        assert all(text in row(driver, "account.uid") for text in ("1100", "blocked"))
        await driver.press("backspace", "0")
        await driver.until(lambda: uid.text.mood == "good" and "blocked" not in row(driver, "account.uid"))
        assert uid.display, "a field that was edited stays where it is"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("page", ["docker", "python"])
async def test_headings_stand_above_their_columns(tmp_path: Path, page: str, size: tuple[int, int]) -> None:
    async with opened(tmp_path, page, size=size) as driver:
        head = driver.app.screen.query_one(TableHead)
        first = next(each for each in driver.app.screen.query(Field) if each.display)
        assert columns_of(head.content_size.width, True) == first.columns
        assert head.content_region.x == first.content_region.x


async def test_what_is_right_is_folded_and_comes_back(tmp_path: Path) -> None:
    async with opened(tmp_path, "account", "half") as driver:
        fold = driver.app.screen.query_one("#fold-right", Fold)
        assert fold.count == 5
        assert not field(driver, "account.username").display
        assert "5 already right" in driver.text()
        fold.focus()
        await driver.press("enter")
        await driver.until(lambda: field(driver, "account.username").display)


async def test_a_wrong_value_in_a_folded_group_unfolds_it(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker") as driver:
        hidden = field(driver, "docker.apt_url")
        assert not hidden.display
        driver.app.plan_model.draft.put("docker", ("apt_url",), "not a URL")
        driver.app.plan_model.edited()
        await driver.until(lambda: hidden.display and "! " in row(driver, "docker.apt_url"))


async def test_defaults_are_values_and_gaps_are_named(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker") as driver:
        assert "/var/lib/docker" in row(driver, "docker.data_root")
        assert "bai" in row(driver, "docker.users")
        await driver.to_page("node")
        # The page opens at what is missing: its field shows an example, and that it is required once it is left.
        assert "e.g. 26.4" in row(driver, "node.backend_ai")
        await driver.press("tab")
        await driver.until(lambda: "required" in row(driver, "node.backend_ai"))
        assert "(default)" not in driver.text()


async def test_an_example_is_shown_completely_at_80_columns(tmp_path: Path) -> None:
    async with opened(tmp_path, "node") as driver:
        proxy = next(each for each in driver.app.screen.query(Field) if each.label == "HTTPS proxy")
        proxy.focus()
        await driver.until(lambda: "e.g." in row(driver, proxy.key))
        assert "e.g. http://proxy.corp:3128" in row(driver, proxy.key)


async def test_a_choice_opens_in_place(tmp_path: Path) -> None:
    async with opened(tmp_path, "docker") as driver:
        source = field(driver, "docker.source")
        assert isinstance(source, ChoiceField)
        source.focus()
        await driver.press("enter")
        await driver.until("the distribution's packages")
        await driver.press("down", "enter")
        assert driver.app.plan_model.draft.value("docker", ("source",)) == "distro"
        assert not source.is_unfolded
        await driver.press("right")
        assert driver.app.plan_model.draft.value("docker", ("source",)) == "keep"
        await driver.press("enter", "escape")
        assert not source.is_unfolded
        assert driver.app.focused is source


async def test_delete_removes_an_entry(tmp_path: Path) -> None:
    hosts = [{"ip": "10.0.0.1", "names": ["m1"]}, {"ip": "10.0.0.2", "names": ["a1"]}]
    async with opened(tmp_path, "aliases", aliases={"hosts": hosts}) as driver:
        field(driver, "aliases.hosts").focus()
        await driver.press("home", "delete")
        assert driver.app.plan_model.draft.value("aliases", ("hosts",)) == hosts[1:]
        await driver.press("end", "delete")
        assert driver.app.plan_model.draft.value("aliases", ("hosts",)) == hosts[1:]


@pytest.mark.parametrize("page", ORDER)
async def test_no_label_and_no_value_is_cut(page: str, language: str, tmp_path: Path) -> None:
    async with opened(tmp_path, page) as driver:
        for fold in driver.app.screen.query(Fold):
            if not fold.is_open:
                fold.action_take()
        await driver.pilot.pause()
        for each in driver.app.screen.query(Field):
            width = each.size.width
            labels, now, want, change = each._cells(width)
            columns = columns_of(width, True)
            assert "…" not in "".join(labels)
            assert each.label.replace(" ", "") in "".join(labels).replace(" ", "")
            assert all(cell_len(line) <= columns.label for line in labels), each.key
            assert all(cell_len(line) <= columns.now for line in now), each.key
            assert all(cell_len(line) <= columns.change for line in change), each.key
            if not isinstance(each, TypedField) or each.editor is None:
                assert all(line.cell_length <= columns.want for line in want), each.key
            if isinstance(each, ChoiceField):
                each.unfold(True)
                assert all(cell_len(line) <= width - 4 for line in each.lines()), each.key


@pytest.mark.parametrize("page", ORDER)
def test_every_row_is_a_field_and_every_step_is_shown(page: str, tmp_path: Path) -> None:
    session = demo_session("bare", demo_machine("bare", delay=0), tmp_path)
    draft = Draft(session.machine.host, {**ANSWERS, "node": {"backend_ai": "26.4"}}, demo=True)
    facts = FactCache(session.foreseen)
    desired = draft.desired()
    plan = facts.fresh_plan(desired)
    found = load(page)
    for each in found.rows:
        table, *names = each.field.split(".")
        assert table in tables_of(page)
        model: Any = settings_of(table)
        for name in names:
            assert name in model.infos, each.field
            model = next(iter(parts_of(hints_of(model)[name]).values()), None)
    steps = [item for item in plan.steps if item.step.page == page]
    rows = page_rows(found, desired.settings, facts.facts(page), desired.context, steps, facts.now(page))
    shown = {
        item.step.id
        for text in (*rows.fields.values(), *rows.blocked, *rows.items, *rows.others)
        for item in text.steps
    }
    assert {item.step.id for item in steps if item.is_pending} <= shown
    assert all(text.change for text in (*rows.fields.values(), *rows.items) if text.mood == "todo")


async def test_rows_can_be_saved_in_80_columns_and_24_lines(tmp_path: Path) -> None:
    """Types, fields and help leave room for the buttons, whatever the type."""
    rows = [
        each for page in ORDER for each in form_fields(settings_of(page)) if each.widget in ("rows", "named-parts")
    ]
    assert len(rows) > 1
    async with opened(tmp_path, "account") as driver:
        for each in rows:
            for type in each.models or ():
                driver.app.push_screen(EditRowScreen(each, {"type": type}, "", is_new=False))
                await driver.until("[ Save ]  [ Remove ]  [ Cancel ]")
                driver.app.pop_screen()
                await driver.until(lambda: not isinstance(driver.app.screen, EditRowScreen))
