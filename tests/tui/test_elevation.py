"""Starting again as root: what goes along, and what does not."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

import pytest

from bai_wizard.commands.wizard import _draft
from bai_wizard.core.errors import PreflightError
from bai_wizard.tui import elevation
from bai_wizard.wizard.draft import Draft
from tests.tui.fakes import FakeMachine
from tests.tui.sitting import sitting


def test_what_was_entered_goes_along_right_or_wrong(tmp_path: Path) -> None:
    draft = Draft("gpu01", {"node": {"backend_ai": "26.4"}})
    draft.put("account", ("uid",), "many")
    draft.put("account", ("password",), {"prompt": True})
    draft.put("account", ("password_hash",), "$y$j9T$abc")
    draft.put("storage", ("volumes",), [{"type": "local", "name": "local"}])
    draft.skipped = {"images"}
    file = tmp_path / "handed.json"
    file.write_text(draft.handed_over())
    assert "$y$" not in file.read_text()
    taken = _draft(Namespace(answers="", handed_over=str(file), demo=None), "gpu01")
    assert not file.exists()
    assert taken.skipped == {"images"}
    assert taken.value("account", ("uid",)) == "many"
    assert not taken.is_valid("account")
    assert taken.value("account", ("password",)) == {"prompt": True}
    assert taken.value("account", ("password_hash",)) is None
    assert taken.settings("storage") == draft.settings("storage")
    assert taken.wish().context.backend_ai == "26.4"


def test_what_was_not_handed_over_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "handed.json"
    file.write_text("[storage]\n")
    with pytest.raises(PreflightError):
        _draft(Namespace(answers="", handed_over=str(file), demo=None), "gpu01")
    assert file.exists()


async def test_where_it_cannot_be_done_it_is_told_and_nothing_lies_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def refuse(words: list[str], *, ask: bool) -> None:
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o077 == 0
        assert json.loads(file.read_text())["tables"]["node"]["backend_ai"] == "26.4"
        seen.append([word for word in words if word != os.fspath(file)])
        raise PreflightError("sudo is not installed")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("bai_wizard.engine.launch.elevate.elevate", refuse)
    async with sitting(machine=FakeMachine(root=False)) as seat:
        seat.app.words = ("--answers", "a.toml", "--ascii")
        monkeypatch.setattr(seat.app, "suspend", nullcontext)
        elevation.restart(seat.app)
        await seat.until(lambda: any("not installed" in notice.message for notice in seat.app._notifications))
    assert seen == [["--ascii", "--handed-over"]]
    assert not list(tmp_path.iterdir())
