"""Restarting as root: what is carried over and what is not."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

import pytest

from bai_wizard.commands.wizard import _draft
from bai_wizard.core.errors import PreflightError
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.tui import keeper
from tests.programs import find_programs_in
from tests.tui.app_driver import running_app
from tests.tui.fakes import FakeMachine


def test_input_is_carried_over_valid_or_not(tmp_path: Path) -> None:
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
    assert taken.desired().context.backend_ai == "26.4"


def test_input_that_was_not_handed_over_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "handed.json"
    file.write_text("[storage]\n")
    with pytest.raises(PreflightError):
        _draft(Namespace(answers="", handed_over=str(file), demo=None), "gpu01")
    assert file.exists()


async def test_a_failure_is_reported_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def refuse(words: list[str]) -> int:
        (file,) = tmp_path.iterdir()
        assert file.stat().st_mode & 0o077 == 0
        assert json.loads(file.read_text())["tables"]["node"]["backend_ai"] == "26.4"
        seen.append([word for word in words if word != os.fspath(file)])
        raise PreflightError("sudo is not installed")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("bai_wizard.engine.launch.run_elevated", refuse)
    async with running_app(machine=FakeMachine(root=False)) as driver:
        driver.app.words = ("--answers", "a.toml", "--ascii")
        monkeypatch.setattr(driver.app, "suspend", nullcontext)
        keeper.restart_as_root(driver.app)
        await driver.until(lambda: any("not installed" in notice.message for notice in driver.app._notifications))
    assert seen == [["--ascii", "--handed-over"]]
    assert not list(tmp_path.iterdir())


# Stands for sudo: does what the test says, with the last word of its command line as $file.
SUDO = """#!/bin/sh
for file; do :; done
{then}
"""


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("exit 1", None),
        ("kill -INT $$", None),
        ("exit 3", None),
        ('rm "$file"; exit 5', 5),
        ('rm "$file"; kill -9 $$', 137),
    ],
)
async def test_input_survives_a_sudo_that_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, code: int | None
) -> None:
    """A wrong password, Ctrl-C at its prompt, a refusal: back in the wizard, and no file lies around."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "bin/sudo").write_text(SUDO.format(then=then))
    (tmp_path / "bin/sudo").chmod(0o755)
    find_programs_in(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr("bai_wizard.engine.launch.refuse_foreign_code", lambda *_paths: None)
    ended: list[int] = []
    async with running_app(machine=FakeMachine(root=False)) as driver:
        with monkeypatch.context() as patched:
            patched.setattr(driver.app, "suspend", nullcontext)
            patched.setattr(driver.app, "exit", ended.append)
            keeper.restart_as_root(driver.app)
        if code is None:
            await driver.until(
                lambda: any("could not be restarted" in notice.message for notice in driver.app._notifications)
            )
        assert ended == ([] if code is None else [code])
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.needs_root
def test_root_takes_over_no_file_that_others_could_write(tmp_path: Path) -> None:
    file = tmp_path / "handed.json"
    file.write_text(Draft("gpu01").handed_over())
    file.chmod(0o666)
    with pytest.raises(PreflightError, match="can be changed by everyone"):
        _draft(Namespace(answers="", handed_over=str(file), demo=None), "gpu01")
    assert file.exists()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PreflightError):
        _draft(Namespace(answers="", handed_over=str(tmp_path / "pipe"), demo=None), "gpu01")
