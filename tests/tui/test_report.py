"""The report saved at the end of a run: Markdown, including open items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard.commands.wizard import _report
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from tests.tui.app_driver import running_app
from tests.tui.test_run import apply_page

ANSWERS: dict[str, dict[str, Any]] = {
    "node": {"roles": ["compute", "storage"], "backend_ai": "26.4"},
    "account": {"sudo": "nopasswd"},
}


async def test_a_report_from_the_result_names_pending_pages_and_only_valid_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    session = replace(demo_session("bare", demo_machine("bare", delay=0), runs), reporter=_report)
    async with running_app(session=session, loader=load, draft=Draft("gpu01", ANSWERS, demo=True)) as driver:
        await driver.settled()
        await driver.to_page("account")
        await driver.press("escape", "a")
        await driver.until(" on gpu01")
        await apply_page(driver)
        await driver.press("home")
        while "Save report" not in driver.text().splitlines()[driver.app.cursor_position.y]:
            await driver.press("down")
        await driver.press("enter")
        await driver.until("File name:")
        await driver.press("enter")
        await driver.until(lambda: any(tmp_path.glob("*.md")))
        (file,) = tmp_path.glob("*.md")
        await driver.until(lambda: "## Still open" in file.read_text())
        message = file.read_text()
        assert "`account.user`" in message.partition("## Changed")[2]
        assert "* Python: not part of this run" in message.partition("## Still open")[2]
        assert "pip install" not in message, "there is no environment yet"
