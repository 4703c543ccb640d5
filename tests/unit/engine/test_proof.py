"""A proof that nothing is to be done falls with everything that would make the plan another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bai_wizard.core.page import Page
from bai_wizard.core.state import Entry, Key
from bai_wizard.engine.proof.proof import MOST, Proof, keep, kept, prove
from bai_wizard.engine.proof.reads import NotingMachine
from bai_wizard.machine.simulated import SimulatedMachine
from bai_wizard.pages.account.page import PAGE as ACCOUNT
from bai_wizard.pages.tuning.page import PAGE as TUNING
from tests.pages.account.test_plan import DRIFTS as ACCOUNT_DRIFTS
from tests.pages.account.test_plan import HASH, KEY, TABLE
from tests.pages.storage.cycle import plan_of, run
from tests.pages.tuning.test_drift import DRIFTS
from tests.pages.ubuntu import DOCKER, bai, ubuntu

WORDS = ("--headless", "/root/answers.toml")


def proven(page: Page, machine: SimulatedMachine, answers: Path, table: Mapping[str, Any] | None = None) -> Proof:
    """The proof of a plan without changes."""
    noting = NotingMachine(machine)
    assert plan_of(page, table or {}, noting).is_empty()
    return prove(WORDS, noting, [str(answers)], "nothing to do\n", 0)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.toml"
    path.write_text("version = 1\n")
    return path


@pytest.fixture
def machine(tmp_path: Path) -> SimulatedMachine:
    made = ubuntu({**bai(), **DOCKER})
    _, result = run(made, plan_of(TUNING, {}, made), tmp_path)
    assert result.code() == 0
    return made


@pytest.mark.parametrize("case", DRIFTS)
def test_no_drift_leaves_it_standing(case: str, machine: SimulatedMachine, answers: Path) -> None:
    proof = proven(TUNING, machine, answers)
    assert proof.stands(machine)
    DRIFTS[case](machine)
    assert not proof.stands(machine)


@pytest.mark.parametrize("case", ACCOUNT_DRIFTS)
def test_no_drift_of_the_account_leaves_it_standing(case: str, answers: Path, tmp_path: Path) -> None:
    table = {**TABLE, "sudo": "nopasswd" if "drop-in" in case else "password", "authorized_keys": [KEY]}
    machine = ubuntu(bai(HASH))
    run(machine, plan_of(ACCOUNT, table, machine), tmp_path)
    proof = proven(ACCOUNT, machine, answers, table)
    assert proof.stands(machine)
    machine.set_state(*ACCOUNT_DRIFTS[case])
    assert not proof.stands(machine)


def _written_again(answers: Path) -> None:
    answers.write_text("version = 2\n")


def _replaced(answers: Path) -> None:
    other = answers.with_name("other")
    other.write_text(answers.read_text())
    other.rename(answers)


@pytest.mark.parametrize("change", [_written_again, _replaced, Path.unlink])
def test_other_answers_bring_it_down(
    change: Callable[[Path], None], machine: SimulatedMachine, answers: Path
) -> None:
    proof = proven(TUNING, machine, answers)
    change(answers)
    assert not proof.stands(machine)


def test_it_is_for_one_command_line_in_one_directory(
    machine: SimulatedMachine, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "lib" / "proofs"
    assert kept(WORDS, str(place)) is None
    keep(proven(TUNING, machine, answers), str(place))
    (file,) = place.iterdir()
    assert file.stat().st_mode & 0o7777 == 0o600
    found = kept(WORDS, str(place))
    assert found is not None
    assert found.stands(machine)
    assert kept((*WORDS, "--only", "tuning"), str(place)) is None
    monkeypatch.chdir(tmp_path)
    assert kept(WORDS, str(place)) is None


def test_only_the_newest_are_kept(machine: SimulatedMachine, answers: Path, tmp_path: Path) -> None:
    proof = proven(TUNING, machine, answers)
    for number in range(MOST + 3):
        keep(replace(proof, words=(*WORDS, str(number))), str(tmp_path))
    assert len(list(tmp_path.glob("*.json"))) == MOST
    assert kept((*WORDS, str(MOST + 2)), str(tmp_path)) is not None


def test_a_torn_or_foreign_one_is_none(machine: SimulatedMachine, answers: Path, tmp_path: Path) -> None:
    place = tmp_path / "proofs"
    keep(proven(TUNING, machine, answers), str(place))
    (file,) = place.iterdir()
    whole = file.read_text()
    for text in ("", "{", "[]", '{"version": 1}', '{"version": 99, "words": []}', whole[:-20]):
        file.write_text(text)
        assert kept(WORDS, str(place)) is None
    file.write_text(whole)
    assert kept(WORDS, str(place)) is not None


def test_nothing_that_was_read_stands_in_it(machine: SimulatedMachine, answers: Path, tmp_path: Path) -> None:
    machine.set_state(Key("file", "/etc/security/limits.d/zz.conf"), Entry("file", 0, 0, 0o644, b"# correct horse\n"))
    keep(proven(TUNING, machine, answers), str(tmp_path / "proofs"))
    (file,) = (tmp_path / "proofs").iterdir()
    assert "correct horse" not in file.read_text()
