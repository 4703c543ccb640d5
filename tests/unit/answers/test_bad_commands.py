"""Invalid files on the command line: exit code 2, each problem with its line, no traceback, no changes."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from bai_wizard.cli import main
from bai_wizard.exit_codes import ExitCode
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
    name: str, root: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    # A copy of one's own: root obeys no file of another user, and the checkout may belong to one.
    file = str(tmp_path_factory.mktemp("answers") / f"{name}.toml")
    copyfile(BAD / f"{name}.toml", file)
    for words in (["check", file], ["--headless", file], ["--headless", file, "--plan"]):
        assert main([*words, "--root", str(root)]) == ExitCode.ANSWERS, words
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert CANARY not in captured.out + captured.err
        for line, reason in EXPECTED[name]:
            assert reason in captured.err
            assert (f"{file}:{line}:" if line else f"{file}: ") in captured.err
    assert sorted(path.name for path in root.rglob("*")) == ["etc", "hostname"]


@pytest.mark.parametrize("kind", ["missing", "directory", "large"])
def test_an_invalid_answers_file_is_refused(kind: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "etc" / kind
    if kind == "directory":
        file.mkdir()
    elif kind == "large":
        file.write_text("version = 1\n" + "# nothing\n" * 1_000_000)
    for words in (["check", str(file)], ["--headless", str(file)]):
        assert main([*words, "--root", str(root)]) == ExitCode.ANSWERS
        message = capsys.readouterr().err
        assert message.startswith(f"{file}: ")
        assert "Traceback" not in message
