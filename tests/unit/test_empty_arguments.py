"""Empty arguments and digests of empty input are refused, because they would not restrict anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode

HEADLESS = ("--only", "--skip", "--bundle", "--bundle-digest", "--report")
DOCTOR = ("--only", "--skip", "--fix", "--bundle", "--from", "--report", "--answers", "--error", "--before-upgrade")


@pytest.fixture
def answers(tmp_path: Path) -> str:
    file = tmp_path / "answers.toml"
    file.write_text("version = 1\n[node]\n")
    file.chmod(0o600)
    return str(file)


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
@pytest.mark.parametrize("option", HEADLESS)
def test_an_empty_argument_is_refused(option: str, text: str, answers: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--headless", answers, "--plan", option, text])
    assert ended.value.code == ExitCode.ANSWERS


@pytest.mark.parametrize("option", DOCTOR)
def test_an_empty_argument_of_the_doctor_is_refused(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", option, ""])
    assert ended.value.code == ExitCode.ANSWERS


def test_a_digest_without_a_bundle_is_refused(answers: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--headless", answers, "--plan"], ["check", answers]):
        assert main([*words, "--bundle-digest", "0" * 64]) == ExitCode.PREFLIGHT
        assert "without a bundle" in capsys.readouterr().err


def test_a_digest_in_the_answers_waits_for_the_bundle_on_the_command_line(answers: str) -> None:
    with Path(answers).open("a") as file:
        file.write(f'[sources]\nbundle_digest = "{"0" * 64}"\n')
    assert main(["check", answers]) == ExitCode.OK
    assert main(["--headless", answers, "--plan"]) == ExitCode.PREFLIGHT
