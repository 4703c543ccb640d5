"""Every wrong file on the command line: 2, each problem with its line, no traceback, and nothing is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from bai_wizard.cli import main
from bai_wizard.exits import ExitCode
from tests.unit.answers.paths import BAD, CANARY, expected

EXPECTED = expected()
HOST = "bai-a01.corp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node of that name, which is the only file on it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text(HOST)
    return tmp_path


@pytest.mark.parametrize("name", EXPECTED)
def test_wrong_answers_are_refused_by_every_command(
    name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(BAD / f"{name}.toml")
    for words in (["check", file], ["--headless", file], ["--headless", file, "--plan"]):
        assert main([*words, "--root", str(root)]) == ExitCode.ANSWERS, words
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert CANARY not in told.out + told.err
        for line, reason in EXPECTED[name]:
            assert reason in told.err
            assert (f"{file}:{line}:" if line else f"{file}: ") in told.err
    assert sorted(path.name for path in root.rglob("*")) == ["etc", "hostname"]


@pytest.mark.parametrize("kind", ["missing", "directory", "large"])
def test_what_is_no_answers_file_is_refused(kind: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "etc" / kind
    if kind == "directory":
        file.mkdir()
    elif kind == "large":
        file.write_text("version = 1\n" + "# nothing\n" * 1_000_000)
    for words in (["check", str(file)], ["--headless", str(file)]):
        assert main([*words, "--root", str(root)]) == ExitCode.ANSWERS
        told = capsys.readouterr().err
        assert told.startswith(f"{file}: ")
        assert "Traceback" not in told
