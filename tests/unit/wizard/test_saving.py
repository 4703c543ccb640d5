"""Saving: every unusable path is answered with a message, and an incomplete page keeps its input."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bai_wizard.answers.load import loads
from bai_wizard.answers.save import render
from bai_wizard.core.errors import AnswersError
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.saving import missing_answers, refuse_path, suggested

PATHS = (
    "", " ", "~bai/answers.toml", "~", "~/", "~no-such-user", "~\0", "a\0b", "\0", "x" * 256, "/" + "x/" * 5000, "/",
    ".", "..", "/proc/self/mem/x", "/dev/null", "/nope/answers.toml", "/root\n/x", "\ud800", "\ud800/x", "表" * 100,
    "/proc/1/fdinfo/x", "~root/\0", "a/" * 3000,
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_cannot_be_written_is_reported(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refuse_path(path)
    assert not list(tmp_path.iterdir())


@given(path=st.text(st.characters(codec=None), max_size=300))
def test_no_path_is_a_traceback(path: str) -> None:
    refuse_path(path)
    refuse_path(f"~{path}")


def test_a_directory_that_is_gone_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert suggested("answers.toml") == "answers.toml"
    assert suggested("/etc/answers.toml") == "/etc/answers.toml"
    assert refuse_path("answers.toml")


@pytest.mark.needs_root
def test_an_unreadable_directory_is_reported(tmp_path: Path) -> None:
    from bai_wizard.node.run_as import Identity, run_as

    (tmp_path / "closed").mkdir(mode=0o700)
    for path in ("closed/answers.toml", "closed/inner/answers.toml"):
        assert run_as(Identity(4242, 4242, ()), refuse_path, str(tmp_path / path), answer=str)


def incomplete() -> Draft:
    draft = Draft("gpu01", {"node": {"backend_ai": "26.4"}})
    draft.put("account", ("uid",), 2000)
    return draft


def test_an_incomplete_page_keeps_its_values_and_names_missing_ones() -> None:
    draft = incomplete()
    text = render(draft.to_save())
    assert tomllib.loads(text)["account"] == {"uid": 2000}
    with pytest.raises(AnswersError) as raised:
        loads(text, "saved.toml", "gpu01")
    assert [problem.key for problem in raised.value.problems] == ["account.sudo"]
    (left,) = missing_answers(draft)
    assert left.startswith("Account: Sudo: ")


def test_a_wrong_value_is_saved_and_found_at_its_key() -> None:
    draft = Draft("gpu01", {"account": {"sudo": "nopasswd"}, "node": {"backend_ai": "26.4"}})
    draft.put("account", ("uid",), 'many "\0\x1b')
    draft.put("aliases", ("hosts",), [{"ip": "10.0.0", "names": [], "comment": None}])
    draft.put("accelerators", ("nvidia",), None)
    draft.put("docker", ("log_opts",), {"max-size": 'x"'})
    text = render(draft.to_save())
    saved = tomllib.loads(text)
    assert saved["account"] == {"sudo": "nopasswd", "uid": 'many "\0\x1b'}
    assert saved["aliases"] == {"hosts": [{"ip": "10.0.0", "names": []}]}
    with pytest.raises(AnswersError) as raised:
        loads(text, "saved.toml", "gpu01")
    keys = {problem.key for problem in raised.value.problems}
    assert "account.uid" in keys
    assert "aliases.hosts[0].ip" in keys or any(key.startswith("aliases.hosts") for key in keys)


def test_a_skipped_incomplete_page_stays_skipped() -> None:
    draft = incomplete()
    draft.skipped = {"account"}
    assert tomllib.loads(render(draft.to_save()))["account"] == {"uid": 2000, "apply": False}
    assert not missing_answers(draft)


def test_the_file_that_was_opened_is_suggested(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('version = 1\n[node]\nbackend_ai = "26.4"\n')
    from bai_wizard.answers.load import load

    draft = Draft.of_answers(load(str(file), "gpu01"), "gpu01")
    assert draft.opened == str(file)
    assert suggested(draft.opened) == os.fspath(file)
    assert not draft.is_unsaved
    draft.put("account", ("uid",), 7)
    assert draft.changed_pages() == {"account"}
    draft.mark_saved()
    assert not draft.is_unsaved
