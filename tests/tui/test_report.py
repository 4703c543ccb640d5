"""The report that the end of a run saves: Markdown, with the next command of Backend.AI's own installation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.commands.wizard import _report
from bai_wizard.machine.demo import demo_machine
from bai_wizard.pages import load
from bai_wizard.tui.screens.end import EndScreen
from bai_wizard.wizard.desk import demo_desk
from bai_wizard.wizard.draft import Draft
from tests.tui.sitting import sitting
from tests.tui.test_run import apply

ANSWERS: dict[str, dict[str, Any]] = {
    "node": {"roles": ["compute", "storage"], "backend_ai": "26.4"},
    "account": {"sudo": "nopasswd"},
}


async def test_saved_from_the_end_it_names_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    desk = replace(demo_desk("bare", demo_machine("bare", delay=0), runs), reporter=_report)
    async with sitting(desk=desk, loader=load, draft=Draft("gpu01", ANSWERS, demo=True)) as seat:
        await seat.settled()
        await seat.to_page("account")
        await seat.press("escape", "a")
        await seat.until("Steps on gpu01")
        await apply(seat)
        await seat.until(lambda: isinstance(seat.app.screen, EndScreen))
        await seat.press("home")
        while "Save a report" not in seat.text().splitlines()[seat.app.cursor_position.y]:
            await seat.press("down")
        await seat.press("enter")
        await seat.until("As which file?")
        await seat.press("enter")
        await seat.until(lambda: any(tmp_path.glob("*.md")))
        (file,) = tmp_path.glob("*.md")
        await seat.until(lambda: "## Next" in file.read_text())
        told = file.read_text()
        assert "`account.user`" in told.partition("## Changed")[2]
        following = told.partition("## Next")[2]
        assert "~/agent/.venv/bin/python -m pip install backend.ai-agent==26.4" in following
        assert "backend.ai-storage-proxy==26.4" in following
        assert "backend.ai-manager" not in following
