"""Arguments of the doctor: unknown checks are refused with the nearest name before anything is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode


@pytest.mark.parametrize(
    "words, nearest",
    [
        (("--only", "sysctl-quoted-valu"), "tuning.sysctl-quoted-value"),
        (("--skip", "tunning"), "tuning"),
        pytest.param(("--fix", "dns-brokn", "--yes"), "node.dns-broken", marks=pytest.mark.needs_root),
        # A page has no fix.
        pytest.param(("--fix", "node", "--yes"), "unknown check", marks=pytest.mark.needs_root),
        (("--ignore", "tmp-noexek=agreed"), "node.tmp-noexec"),
        (("--ignore", "node=agreed"), "unknown check"),
        (("--ignore", "node.tmp-noexec"), "ID=REASON"),
    ],
)
def test_an_unknown_check_is_refused(
    words: tuple[str, ...], nearest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--root", str(tmp_path), *words]) == ExitCode.ANSWERS
    assert nearest in capsys.readouterr().err


def test_an_accepted_check_of_the_answers_has_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('version = 1\n[doctor]\nignore = { "node.swap" = "agreed" }\n')
    assert main(["doctor", "--root", str(tmp_path), "--answers", str(answers)]) == ExitCode.ANSWERS
    assert "node.swap" in capsys.readouterr().err
