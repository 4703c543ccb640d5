"""The answers: differences from the file and from the node, saving to the open file, opening another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.widgets import Input

from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import ORDER, load
from bai_wizard.session import demo_session
from bai_wizard.ui.answer_diff import differences
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui.screens.answers import AnswersScreen, Differences
from bai_wizard.ui.tui.screens.dialogs import LineQuestion
from bai_wizard.ui.tui.screens.main import MainScreen
from bai_wizard.ui.tui.widgets.entry import SecretField
from tests.tui.app_driver import AppDriver, running_app
from tests.tui.test_find import focused_field
from tests.tui.test_page_table import field

FILE = """version = 1
[node]
backend_ai = "26.4"
[account]
sudo = "nopasswd"
uid = "many"
shel = "/bin/sh"
[docker]
"""


def lines(driver: AppDriver) -> str:
    """The differences that the screen lists."""
    return "\n".join(line.plain for line in driver.app.screen.query_one(Differences).lines())


async def test_open_compare_and_save(tmp_path: Path) -> None:
    file, other = tmp_path / "a.toml", tmp_path / "b.toml"
    file.write_text(FILE)
    other.write_text(FILE.replace("many", "1200").replace("shel =", "shell ="))
    session = demo_session("finished", demo_machine("finished", delay=0), tmp_path / "runs")
    draft = Draft.from_file(str(file), session.machine.host, demo=True)
    async with running_app(session=session, loader=load, draft=draft) as driver:
        # What no field can show is listed first; the rest is beside its field.
        await driver.until("account.shel: unknown key")
        await driver.press("escape")
        await driver.settled()
        await driver.to_page("account")
        assert field(driver, "account.uid").problem
        # A change is a difference from the file; both are differences from the node.
        driver.app.plan_model.draft.put("account", ("uid",), 1300)
        driver.app.plan_model.edited()
        await driver.app.run_action("answers")
        await driver.until(lambda: isinstance(driver.app.screen, AnswersScreen))
        await driver.until("UID: many → 1300")
        await driver.until("UID: 1100 → 1300")
        assert "(unsaved changes)" in " ".join(driver.text().split())
        await driver.press("home", "enter")  # Save, to the open file
        await driver.until("no differences")
        assert "uid = 1300" in file.read_text()
        assert not driver.app.plan_model.draft.is_unsaved
        await driver.press("o")
        await driver.until("File name:")
        driver.app.screen.query_one(Input).value = str(other)
        await driver.press("enter")
        await driver.until(lambda: driver.app.plan_model.draft.opened == str(other))
        await driver.until("UID: 1100 → 1200")
        # Enter on a difference goes to its field.
        driver.app.screen.query_one(Differences).focus()
        at = next(index for index, line in enumerate(lines(driver).splitlines()) if "UID: 1100 → 1200" in line)
        driver.app.screen.query_one(Differences).cursor = at
        await driver.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
        await driver.until(lambda: focused_field(driver) == "account.uid")


def test_differences_name_fields_and_hide_secrets() -> None:
    before: dict[str, dict[str, Any]] = {
        "account": {"sudo": "no", "password_hash": "$6$old"},
        "network": {"proxy": {"https": "http://p:1"}},
    }
    after: dict[str, dict[str, Any]] = {
        "account": {"sudo": "no", "password_hash": "$6$new", "uid": 1100},
        "network": {"proxy": {}},
    }
    found = {each.key: (each.before, each.after) for each in differences(before, after, ORDER)}
    assert found == {
        "account.password_hash": ("given", "given"),
        "network.proxy.https": ("http://p:1", "none"),
    }
    assert not differences(before, before, ORDER)


async def test_programs_and_credentials_as_sources_of_a_password(tmp_path: Path) -> None:
    """Answers with them can be opened, and both can be entered."""
    file = tmp_path / "a.toml"
    file.write_text('version = 1\n[account]\npassword = { command = ["/sbin/read-secret", "a b"] }\n')
    session = demo_session("finished", demo_machine("finished", delay=0), tmp_path / "runs")
    draft = Draft.from_file(str(file), session.machine.host, demo=True)
    async with running_app(session=session, loader=load, draft=draft) as driver:
        await driver.to_page("account")
        password = field(driver, "account.password")
        assert isinstance(password, SecretField)
        assert password.value_text() == "output of /sbin/read-secret 'a b'"
        assert len(password.meanings) == len(password.options) == 6
        for way, typed, source in (
            ("credential", "bai-password", {"credential": "bai-password"}),
            ("command", "/sbin/other x", {"command": ["/sbin/other", "x"]}),
        ):
            password.choose(way)
            await driver.until(lambda: isinstance(driver.app.screen, LineQuestion))
            driver.app.screen.query_one(Input).value = typed
            await driver.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, MainScreen))
            assert draft.value("account", ("password",)) == source
