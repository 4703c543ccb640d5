"""`--answers` opens an incomplete file or one with invalid values and shows what is missing."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from bai_wizard.answers.save import render
from bai_wizard.commands.wizard import _draft
from bai_wizard.core.errors import AnswersError
from bai_wizard.pages import ORDER
from bai_wizard.ui.answer_diff import differences
from bai_wizard.ui.draft import Draft
from bai_wizard.ui.saving import missing_answers

# An answers file, the page and the key that the form complains of, and how it names the field.
INCOMPLETE = {
    "a value is missing": ("[account]\n", "account", "sudo", "Account: Sudo: "),
    "a value is wrong": ('[account]\nsudo = "no"\nuid = "many"\n', "account", "uid", "Account: UID: "),
    "a value of a choice is unknown": ('[account]\nsudo = "sometimes"\n', "account", "sudo", "Account: Sudo: "),
    "a row lacks a value": ('[[storage.volumes]]\nname = "v"\ntype = "nfs"\n', "storage", "volumes.0.source",
        "Storage: Volumes, row 1, Export: "),
    "values that do not fit": (
        '[[storage.volumes]]\nname = "v"\ntype = "local"\npath = "/srv/x"\n', "storage", "volumes.0.path",
        "Storage: Volumes, row 1, Path: "),
}  # fmt: skip
# What no field can show: the file, and the key that is reported as left out.
LEFT_OUT = {
    "an unknown key": ('[account]\nsudo = "no"\nshel = "/bin/sh"\n', "account.shel"),
    "an unknown table": ("[acount]\n", "acount"),
    "a table that is none": ("account = 5\n", "account"),
    "a list in the place of a text": ('[account]\nsudo = "no"\nshell = ["x"]\n', "account.shell"),
    "an unknown key of a row": (
        '[[storage.volumes]]\nname = "v"\ntype = "local"\ncolor = "red"\n', "storage.volumes[0].color"),
    "an override of another host": (
        '[[override]]\nhosts = ["n2"]\n[override.account]\nuid = "x"\n', "override[0].account.uid"),
}  # fmt: skip


def opened(directory: Path, text: str, version: str = "version = 1\n") -> Draft:
    directory.joinpath("a.toml").write_text(version + text)
    return _draft(Namespace(demo="bare", handed_over="", answers=str(directory / "a.toml")), "n1")


@pytest.mark.parametrize("case", INCOMPLETE)
def test_an_incomplete_file_is_opened(tmp_path: Path, case: str) -> None:
    text, page, key, named = INCOMPLETE[case]
    draft = opened(tmp_path, text)
    assert page not in draft.skipped
    assert key in [".".join(map(str, problem.path)) for problem in draft.problems(page)]
    assert any(line.startswith(named) for line in missing_answers(draft))
    assert not draft.is_unsaved
    assert page not in draft.desired().pages
    assert "docker" in draft.skipped


def test_a_page_that_is_not_to_be_applied_stays_so(tmp_path: Path) -> None:
    draft = opened(tmp_path, '[account]\napply = false\nuid = "many"\n')
    assert "account" in draft.skipped
    assert missing_answers(draft) == []


@pytest.mark.parametrize("case", LEFT_OUT)
def test_values_that_no_form_can_hold_are_reported_and_left_out(tmp_path: Path, case: str) -> None:
    text, key = LEFT_OUT[case]
    draft = opened(tmp_path, text)
    assert key in [problem.key for problem in draft.left_out]
    assert all(problem.line > 1 for problem in draft.left_out)
    # What is left can be saved and opened again.
    again = opened(tmp_path, render(draft.to_save()), version="")
    assert not again.left_out
    assert not differences(draft.tables(), again.tables(), ORDER)


def test_the_rest_of_a_row_with_an_unknown_key_is_kept(tmp_path: Path) -> None:
    draft = opened(tmp_path, LEFT_OUT["an unknown key of a row"][0])
    assert draft.value("storage", ("volumes",)) == [{"name": "v", "type": "local"}]


def test_a_problem_in_an_override_of_this_host_is_beside_its_field(tmp_path: Path) -> None:
    draft = opened(tmp_path, '[account]\nsudo = "no"\n[[override]]\nhosts = ["n1"]\n[override.account]\nuid = -5\n')
    assert [problem.path for problem in draft.problems("account")] == [("uid",)]
    assert not draft.left_out
    assert draft.has_overrides


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnswersError):
        opened(tmp_path, "[account\n")


@pytest.mark.parametrize("version", ["", "version = 2\n"])
def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(AnswersError):
        opened(tmp_path, "[tuning]\n", version)
