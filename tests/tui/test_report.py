"""The report saved at the end of a run: Markdown, including open items, in the language of the wizard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bai_wizard import locale
from bai_wizard.commands.wizard import _report
from bai_wizard.engine.result import Result, StepResult
from bai_wizard.node.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.session import demo_session
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.text.report import markdown
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


def test_a_report_in_korean() -> None:
    report = {
        "host": "gpu01",
        "written": "2026-11-29T10:00:00Z",
        "wizard": "0.2.0",
        "run": "",
        "node": {"node": {"Uptime": "1 day 0 h"}},
        "result": Result((StepResult("docker.engine", "install docker.io", "changed"),)).to_json(),
        "open": [{"page": "storage", "reason": "not set up: no volumes are configured"}],
        "next": [],
        "handover": [{"title": "Ports to open", "text": "6022/tcp: SSH"}],
    }
    english = markdown(report)
    locale.choose("ko")
    try:
        korean = markdown(report)
    finally:
        locale.choose("en")
    assert "# gpu01: handover report" in english
    for line in english.splitlines():
        # Names, numbers and times are the same in every language.
        if re.search(r"[a-z]{4,} [a-z]{2,}|^## ", line):
            assert line not in korean.splitlines()
    assert "## 열어야 할 포트" in korean
