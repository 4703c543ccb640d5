"""The words of the command line: what is no check is refused with the nearest, before anything is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.exits import ExitCode


@pytest.mark.parametrize(
    "words, nearest",
    [
        (("--only", "sysctl-quoted-valu"), "sysctl-quoted-value"),
        (("--skip", "tunning"), "tuning"),
        (("--fix", "dns-brokn", "--yes"), "dns-broken"),
        # A page has no fix.
        (("--fix", "node", "--yes"), "no check of that name"),
        (("--ignore", "tmp-noexek=agreed"), "tmp-noexec"),
        (("--ignore", "node=agreed"), "no check of that name"),
        (("--ignore", "tmp-noexec"), "ID=REASON"),
    ],
)
def test_what_is_no_check_is_refused(
    words: tuple[str, ...], nearest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--root", str(tmp_path), *words]) == ExitCode.ANSWERS
    assert nearest in capsys.readouterr().err


def test_an_accepted_check_of_the_answers_has_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('version = 1\n[doctor]\nignore = { "node.swap" = "agreed" }\n')
    assert main(["doctor", "--root", str(tmp_path), "--answers", str(answers)]) == ExitCode.ANSWERS
    assert "node.swap" in capsys.readouterr().err
